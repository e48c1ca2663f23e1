#pragma once
// Partial sums that are added within the launch that makes them: the last block to arrive adds those of all
// blocks, in an order that does not depend on which one that is.
#include "kernels/cuda/device/atomics.cuh"
#include "kernels/cuda/device/shared.cuh"
#include "kernels/cuda/device/thread.cuh"

namespace scrawl::SCRAWL_GPU {

/// Whether this block is the last of `blocks` that call this with the same counter; what all of them have
/// written to memory it can read then.  The counter is zero again afterwards.  All threads of a block call
/// it.
__device__ __forceinline__ bool is_last_block(unsigned* counter, unsigned blocks) {
  auto& last = shared<bool, struct LastBlock>();
  __threadfence();
  __syncthreads();
  if (thread_rank() == 0) last = atomicInc(counter, blocks - 1) == blocks - 1;
  __syncthreads();
  if (last) __threadfence();
  return last;
}

}  // namespace scrawl::SCRAWL_GPU
