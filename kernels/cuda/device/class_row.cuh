#pragma once
// The logits of one position, all classes, in registers: `lanes` neighbouring lanes of a warp share the row,
// lane l holds classes l, l + lanes, …  Few lanes for few classes: more of them are busy, and reductions are
// short.
#include <limits>
#include <stdexcept>
#include <string>
#include <string_view>

#include "kernels/cuda/device/math.cuh"
#include "kernels/cuda/device/vector.cuh"
#include "kernels/cuda/device/warp.cuh"

namespace scrawl::SCRAWL_GPU {

template <int lanes_, int slots_>
struct ClassRow {
  static constexpr int lanes = lanes_, slots = slots_;
  static constexpr float kNone = -std::numeric_limits<float>::infinity();  // of slots beyond the last class
  float values[slots];

  /// This lane's place among those that share the row.
  __device__ static int lane() { return lane_index() % lanes; }
  __device__ static int class_of(int slot) { return slot * lanes + lane(); }
  /// The lanes that share the row.
  __device__ static unsigned mask() {
    if constexpr (lanes == kWarpSize) return kFullWarp;
    return ((1u << lanes % kWarpSize) - 1) << (lane_index() - lane());
  }
  __device__ static float sum_over_lanes(float value) { return warp_sum<lanes>(value, mask()); }

  template <typename T>
  __device__ static ClassRow load(const T* source, int classes) {
    ClassRow row;
#pragma unroll
    for (int i = 0; i < slots; ++i)
      row.values[i] = class_of(i) < classes ? as_float(source[class_of(i)]) : kNone;
    return row;
  }

  /// Replaces the values by exp(value − largest); returns the largest in `largest` and the sum.
  __device__ float exponentiate(float& largest) {
    largest = kNone;
#pragma unroll
    for (int i = 0; i < slots; ++i) largest = Larger{}(largest, values[i]);
    largest = warp_max<lanes>(largest, mask());
    float sum = 0.0f;
#pragma unroll
    for (int i = 0; i < slots; ++i) sum += values[i] = fast_exp(values[i] - largest);
    return sum_over_lanes(sum);
  }
  /// Replaces the values by their softmax; 0 beyond the last class.
  __device__ void softmax() {
    float largest;
    const float share = 1.0f / exponentiate(largest);
#pragma unroll
    for (int i = 0; i < slots; ++i) values[i] *= share;
  }
  __device__ float log_sum_exp() const {
    ClassRow powers = *this;
    float largest;
    const float sum = powers.exponentiate(largest);
    return largest + logf(sum);
  }
  /// The value of one class, for all lanes.
  __device__ float of_class(int wanted) const {
    float mine = 0.0f;
#pragma unroll
    for (int i = 0; i < slots; ++i)
      if (class_of(i) == wanted) mine = values[i];
    return __shfl_sync(mask(), mine, wanted % lanes, lanes);
  }
};

/// For the host: calls body(ClassRow) with a type that has room for that many classes; throws
/// std::invalid_argument when none has.
template <typename Body>
void with_class_row(int classes, std::string_view kernel, Body body) {
  if (classes <= 32) return body(ClassRow<8, 4>{});
  if (classes <= 256) return body(ClassRow<32, 8>{});
  throw std::invalid_argument(std::string(kernel) + ": takes at most 256 classes, got " +
                              std::to_string(classes));
}

}  // namespace scrawl::SCRAWL_GPU
