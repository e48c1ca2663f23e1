#pragma once
// Sums and maxima over a warp or block.  Shuffles and votes keep CUDA's names: __shfl_sync, __shfl_xor_sync,
// __shfl_up_sync, __shfl_down_sync, __ballot_sync, __any_sync, __all_sync, __reduce_add/min/max/and/or_sync.
// Every order of addition is fixed, so that two runs give the same bits.
#include <cmath>

#include "kernels/cuda/device/shared.cuh"
#include "kernels/cuda/device/thread.cuh"
#include "kernels/cuda/device/vector.cuh"

namespace scrawl::SCRAWL_GPU {

struct Add {
  template <typename T>
  __device__ T operator()(T a, T b) const {
    return a + b;
  }
};
/// The larger one; NaN loses against a number.
struct Larger {
  template <typename T>
  __device__ T operator()(T a, T b) const {
    return a > b || b != b ? a : b;
  }
  /// One instruction instead of three.
  __device__ float operator()(float a, float b) const { return fmaxf(a, b); }
};

/// Combines the values of `width` (a power of two up to 32) neighbouring lanes by a butterfly; each of them
/// gets the result.  All lanes of `mask` must call it.
template <typename T, typename Combine>
__device__ __forceinline__ T warp_reduce(int width, T value, Combine combine, unsigned mask = kFullWarp) {
#ifdef __CUDACC__
#pragma unroll
  for (int offset = width / 2; offset > 0; offset /= 2)
    value = combine(value, __shfl_xor_sync(mask, value, offset));
  return value;
#else
  return warp_butterfly(width, value, combine, mask);  // one meeting of the lanes instead of five
#endif
}

template <int width = kWarpSize, typename T>
__device__ __forceinline__ T warp_sum(T value, unsigned mask = kFullWarp) {
  return warp_reduce(width, value, Add{}, mask);
}

/// The same for a width that is known when the kernel runs.
template <typename T>
__device__ __forceinline__ T warp_sum_of(int width, T value, unsigned mask = kFullWarp) {
  return warp_reduce(width, value, Add{}, mask);
}

/// The same of N values at a time, whose shuffles don't wait for each other.
template <int N>
__device__ __forceinline__ Floats<N> warp_sums_of(int width, Floats<N> values, unsigned mask = kFullWarp) {
#ifdef __CUDACC__
  for (int offset = width / 2; offset > 0; offset /= 2)
#pragma unroll
    for (int i = 0; i < N; ++i) values[i] += __shfl_xor_sync(mask, values[i], offset);
#else
  for (float& value : values.values) value = warp_butterfly(width, value, Add{}, mask);
#endif
  return values;
}

template <int width = kWarpSize, typename T>
__device__ __forceinline__ T warp_max(T value, unsigned mask = kFullWarp) {
  return warp_reduce(width, value, Larger{}, mask);
}

/// Combines the values of all threads of the block, first in warps, then over warps in order; every thread
/// gets the result.  The block is a multiple of 32 threads and all of them call it.  Two barriers.
template <typename T, typename Combine>
__device__ __forceinline__ T block_reduce(T value, Combine combine) {
  auto& warps = shared<T[kWarpSize], struct WarpResults>();
  const int count = blockDim.x * blockDim.y * blockDim.z / kWarpSize;
  value = warp_reduce(kWarpSize, value, combine);
  if (lane_index() == 0) warps[warp_index()] = value;
  __syncthreads();
  T result = warps[0];
  for (int warp = 1; warp < count; ++warp) result = combine(result, warps[warp]);
  __syncthreads();  // the array may be used again
  return result;
}

template <typename T>
__device__ __forceinline__ T block_sum(T value) {
  return block_reduce(value, Add{});
}

template <typename T>
__device__ __forceinline__ T block_max(T value) {
  return block_reduce(value, Larger{});
}

}  // namespace scrawl::SCRAWL_GPU
