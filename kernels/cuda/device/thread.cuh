#pragma once
// A thread's place and the barriers of its block, under CUDA's own names: threadIdx, blockIdx, blockDim,
// gridDim, __syncthreads(), __syncthreads_count/_and/_or(predicate), __syncwarp(mask).
#include "kernels/cuda/device/backend.cuh"
#ifndef __CUDACC__
#include "kernels/simt/thread.h"
#endif

namespace scrawl::SCRAWL_GPU {

inline constexpr int kWarpSize = 32;
inline constexpr unsigned kFullWarp = 0xFFFFFFFFu;

/// Number of this thread within its block: x runs fastest.
__device__ __forceinline__ int thread_rank() {
  return (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
}
__device__ __forceinline__ int lane_index() {
  return thread_rank() % kWarpSize;
}
__device__ __forceinline__ int warp_index() {
  return thread_rank() / kWarpSize;
}

}  // namespace scrawl::SCRAWL_GPU
