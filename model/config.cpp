#include "model/config.h"

#include "engine/error.h"

namespace scrawl {

ModelConfig backbone(std::string_view name) {
  struct Sizes {
    std::string_view name;
    std::array<int, 4> dims, depths;
  };
  static constexpr std::array<int, 4> small{32, 64, 160, 256}, usual{64, 128, 320, 512};
  static constexpr Sizes table[] = {
      {"mit_b0", small, {2, 2, 2, 2}},  {"mit_b1", usual, {2, 2, 2, 2}},  {"mit_b2", usual, {3, 4, 6, 3}},
      {"mit_b3", usual, {3, 4, 18, 3}}, {"mit_b4", usual, {3, 8, 27, 3}}, {"mit_b5", usual, {3, 6, 40, 3}},
  };
  for (const Sizes& sizes : table) {
    if (sizes.name != name) continue;
    ModelConfig config;
    config.embed_dims = sizes.dims;
    config.depths = sizes.depths;
    return config;
  }
  throw InputError("unknown backbone '{}': expected mit_b0, mit_b1, mit_b2, mit_b3, mit_b4 or mit_b5", name);
}

}  // namespace scrawl
