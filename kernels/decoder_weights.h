#pragma once
#include <array>
#include <string_view>

#include "kernels/cost.h"
#include "kernels/dtype.h"
#include "kernels/queue.h"

namespace scrawl {

/// The parameters of the decoder's fuse: four linears and the 1×1 convolution over their concatenation.
struct DecoderWeights {
  static constexpr int kLevels = 4;
  int width = 0;                // D
  const float* fuse = nullptr;  // [D, 4 D], the columns of the coarsest level first
  std::array<int, kLevels> channels{};
  std::array<const float*, kLevels> weights{};  // W_i [D, channels[i]]
  std::array<const float*, kLevels> biases{};   // b_i [D]

  int64_t fuse_stride() const { return int64_t{kLevels} * width; }
  /// Where F_i [D, D], the columns of level i, begins in the fuse weight.
  int64_t fuse_column(int level) const { return int64_t{kLevels - 1 - level} * width; }
  int64_t all_channels() const { return int64_t{channels[0]} + channels[1] + channels[2] + channels[3]; }
};

/// g[i] [D, channels[i]] = F_i W_i in storage type `dtype`; bias [D] = Σ_i F_i b_i.
struct DecoderPremultiply {
  static constexpr std::string_view name = "decoder_fuse.premultiply";
  DType dtype = DType::f32;
  DecoderWeights parameters;
  std::array<void*, 4> g{};
  float* bias = nullptr;
  Cost cost() const {
    const int64_t d = parameters.width, c = parameters.all_channels();
    return {(4 * d * d + d * c + 5 * d) * 4 + d * c * size_of(dtype), 2 * d * d * (c + 4)};
  }
};

/// What dg[i], the gradient of g[i] in fp32, and db, that of the bias, give to the parameters:
///   dF_i = dg_i W_iᵀ + db b_iᵀ,  dW_i = F_iᵀ dg_i,  db_i = F_iᵀ db.
/// Every target is either overwritten or added to, or null.
struct DecoderWeightsBackward {
  static constexpr std::string_view name = "decoder_fuse.backward_parameters";
  struct Target {
    float* data = nullptr;
    bool accumulate = false;
  };
  DecoderWeights parameters;
  std::array<const float*, 4> dg{};
  const float* db = nullptr;
  Target dfuse;  // laid out as the fuse weight
  std::array<Target, 4> dweights{}, dbiases{};
  Cost cost() const {
    const int64_t d = parameters.width, c = parameters.all_channels();
    return {(8 * d * d + 3 * d * c + 9 * d) * 4, 4 * d * d * (c + 4)};
  }
};

namespace cpu {
void run(const DecoderPremultiply&, Queue&);
void run(const DecoderWeightsBackward&, Queue&);
}  // namespace cpu
namespace cuda {
void run(const DecoderPremultiply&, Queue&);
void run(const DecoderWeightsBackward&, Queue&);
}  // namespace cuda
namespace simt {
void run(const DecoderPremultiply&, Queue&);
void run(const DecoderWeightsBackward&, Queue&);
}  // namespace simt

}  // namespace scrawl
