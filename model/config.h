#pragma once
#include <algorithm>
#include <array>
#include <string_view>

namespace scrawl {

/// Everything that shapes the network.  The defaults are the method's; a backbone sets dims and depths.
struct ModelConfig {
  std::array<int, 4> embed_dims{64, 128, 320, 512};
  std::array<int, 4> depths{2, 2, 2, 2};
  std::array<int, 4> heads{1, 2, 5, 8};
  std::array<int, 4> reductions{8, 4, 2, 1};
  std::array<int, 4> strides{4, 2, 2, 1};  // SegFormer itself ends on 2; here the last stage stays at 1/16
  int mlp_ratio = 4;
  int width = 256;  // D, the decoder's channels
  int classes = 21;
  int slots = 10;                // prototypes a class in the bank
  float bank_rate = 0.99f;       // share of a slot that an update keeps
  float drop_path = 0.1f;        // of the last block; rises linearly from 0
  float dropout = 0.1f;          // of whole channels, after the decoder's fuse
  float block_norm_eps = 1e-6f;  // norm1, norm2 and stage norms
  float other_norm_eps = 1e-5f;  // patch embedding and spatial reduction

  /// The smallest side of an input: every stage's map, ⌈side / stride⌉, must fill its spatial reduction once.
  int minimum_side() const {
    int side = 1;
    for (int stage = 0, stride = 1; stage < 4; ++stage) {
      stride *= strides[stage];
      side = std::max(side, stride * (reductions[stage] - 1) + 1);
    }
    return side;
  }
  friend bool operator==(const ModelConfig&, const ModelConfig&) = default;
};

/// Throws InputError for sizes that no network can have; for sizes that come out of a file.
void check(const ModelConfig& config);

/// Sizes of "mit_b0" … "mit_b5" (SegFormer, table 6); throws InputError for any other name.
ModelConfig backbone(std::string_view name);

struct LossWeights {
  float without = 1.0f;
  float local_pce = 1.0f, local_con = 0.02f;
  float global_pce = 1.0f, global_con_local = 0.01f, global_con_global = 0.01f;
};

}  // namespace scrawl
