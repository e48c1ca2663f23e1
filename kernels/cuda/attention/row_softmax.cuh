#pragma once
// The softmax of scores as products leave them in registers; of forward_wgmma.cu and
// prototypes/attention_forward_128.cu.
#include <limits>

#include "kernels/cuda/device/math.cuh"
#include "kernels/cuda/device/mma.cuh"
#include "kernels/cuda/device/warp.cuh"

namespace scrawl::SCRAWL_GPU {

inline constexpr float kInfinity = std::numeric_limits<float>::infinity();

/// The softmax of a lane's share of two rows of scores, lane / 4 and lane / 4 + 8 of the warp: running, since
/// keys may come in panels.
struct RowSoftmax {
  static constexpr float kSlack = 8.0f;  // powers of two that scores may lie above `top`: it seldom changes
  float top[2] = {-kInfinity, -kInfinity};
  Floats<2> sum{};  // of e^(s − top) over the lane's own columns, till finish()

  /// Scores become e^(s − top).  Returns the factors of what was summed before.
  template <int tiles>
  __device__ __forceinline__ Floats<2> take(FragmentD (&s)[tiles], float log2_scale) {
    Floats<2> keep;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float left = top[half], right = top[half];
#pragma unroll
      for (int j = 0; j < tiles; ++j) {
        left = Larger{}(left, s[j].values[2 * half]);
        right = Larger{}(right, s[j].values[2 * half + 1]);
      }
      const float largest = warp_max<4>(Larger{}(left, right));
      const float rise = (largest - top[half]) * log2_scale;
      keep[half] = rise > kSlack ? fast_exp2(-rise) : 1.0f;
      if (rise > kSlack) top[half] = largest;
      const float shift = top[half] * log2_scale;
      left = right = 0.0f;
#pragma unroll
      for (int j = 0; j < tiles; ++j) {
        left += s[j].values[2 * half] = fast_exp2(s[j].values[2 * half] * log2_scale - shift);
        right += s[j].values[2 * half + 1] = fast_exp2(s[j].values[2 * half + 1] * log2_scale - shift);
      }
      sum[half] = sum[half] * keep[half] + (left + right);
    }
    return keep;
  }

  __device__ __forceinline__ void finish() {
    sum = warp_sums_of(4, sum);
  }
};

/// Lowers scores of keys from `count` on to −∞, in tiles from `first` on.
template <int first, int tiles>
__device__ __forceinline__ void leave_out(FragmentD (&s)[tiles], int count) {
#pragma unroll
  for (int j = first; j < tiles; ++j)
#pragma unroll
    for (int i = 0; i < 4; ++i)
      if (8 * j + FragmentD::column(i) >= count) s[j].values[i] = -kInfinity;
}

}  // namespace scrawl::SCRAWL_GPU
