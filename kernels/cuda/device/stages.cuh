#pragma once
// How kernels of warpgroups walk over tiles that come by bulk copies: a ring of stages in shared memory, each
// with its barrier.  While products read one stage, and those of the stage before end, the others are on
// their way.
#include "kernels/cuda/device/bulk_copy.cuh"
#include "kernels/cuda/device/thread.cuh"
#include "kernels/cuda/device/wgmma.cuh"

namespace scrawl::SCRAWL_GPU {

/// Starts the barriers and the copies of the first steps; `start(step)` starts those of a step to stage
/// step % count.  A barrier of the block must follow.
template <int ahead, int count, typename Start>
__device__ __forceinline__ void begin_stages(CopyBarrier (&arrived)[count], int steps, Start start) {
  if (threadIdx.x > 0) return;
  for (CopyBarrier& each : arrived) start_barrier(each);
  show_products();  // the unit that copies is to find them started
  for (int step = 0; step < ahead && step < steps; ++step) start(step);
}

/// Calls `multiply(step)`, which starts a step's products and closes them into a group, for all steps.  The
/// last group is still to be waited for.  All threads of the block call it.
template <int count, typename Start, typename Multiply>
__device__ __forceinline__ void walk_stages(CopyBarrier (&arrived)[count], int steps, Start start,
                                            Multiply multiply) {
#pragma unroll 1
  for (int step = 0; step < steps; ++step) {
    wait_for_phase(arrived[step % count], step / count);
    multiply(step);
    wait_products<1>();
    __syncthreads();  // products of the step before are done: their stage is free
    if (const int next = step + count - 1; threadIdx.x == 0 && next < steps) start(next);
  }
}

}  // namespace scrawl::SCRAWL_GPU
