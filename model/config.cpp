#include "model/config.h"

#include "engine/error.h"

namespace scrawl {

void check(const ModelConfig& config) {
  const auto within = [](std::string_view what, double value, double low, double high) {
    if (!(value >= low && value <= high))
      throw InputError("the model's {} is {}, expected {} to {}", what, value, low, high);
  };
  constexpr double kLargest = 65536;
  for (int stage = 0; stage < 4; ++stage) {
    within("embed_dims", config.embed_dims[stage], 1, kLargest);
    within("depths", config.depths[stage], 1, 1000);
    within("heads", config.heads[stage], 1, config.embed_dims[stage]);
    within("reductions", config.reductions[stage], 1, 1000);
    within("strides", config.strides[stage], 1, 32);
    if (config.embed_dims[stage] % config.heads[stage] != 0)
      throw InputError("the model's stage {} has {} channels, which {} heads do not divide", stage + 1,
                       config.embed_dims[stage], config.heads[stage]);
  }
  within("mlp_ratio", config.mlp_ratio, 1, 1000);
  within("width", config.width, 2, kLargest);
  within("classes", config.classes, 2, 255);
  within("slots", config.slots, 1, kLargest);
  within("bank_rate", config.bank_rate, 0, 1);
  within("block_norm_eps", config.block_norm_eps, 1e-12, 1);
  within("other_norm_eps", config.other_norm_eps, 1e-12, 1);
}

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
