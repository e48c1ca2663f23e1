#pragma once
// Copies from global to shared memory that run beside the threads (cp.async, compute capability 8.0).  A
// thread starts copies, closes them into a group, and waits until all but the newest groups have arrived;
// what other threads copied needs a barrier after everyone's wait.
#include "kernels/cuda/device/backend.cuh"
#ifndef __CUDACC__
#include "kernels/simt/async_copy.h"
#endif

namespace scrawl::SCRAWL_GPU {

#ifdef __CUDACC__

/// Copies `bytes` (4, 8 or 16), both addresses aligned to them; without `valid`, writes zeros and reads
/// nothing.
template <int bytes>
__device__ __forceinline__ void copy_async(void* shared_target, const void* source, bool valid = true) {
  static_assert(bytes == 4 || bytes == 8 || bytes == 16);
  const unsigned target = static_cast<unsigned>(__cvta_generic_to_shared(shared_target));
  const int read = valid ? bytes : 0;
  if constexpr (bytes == 16)  // .cg: past the first-level cache, which it would not come back to
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(target), "l"(source), "r"(read)
                 : "memory");
  else
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(target), "l"(source), "n"(bytes),
                 "r"(read)
                 : "memory");
}
/// Closes the copies started since the last call into a group.
__device__ __forceinline__ void commit_copies() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}
/// Waits until at most `newest` groups of this thread are under way.
template <int newest = 0>
__device__ __forceinline__ void wait_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(newest) : "memory");
}

#else

template <int bytes>
void copy_async(void* shared_target, const void* source, bool valid = true,
                std::source_location where = std::source_location::current()) {
  static_assert(bytes == 4 || bytes == 8 || bytes == 16);
  start_copy(shared_target, source, bytes, valid, where);
}
inline void commit_copies() {
  close_copy_group();
}
template <int newest = 0>
void wait_copies() {
  wait_for_copies(newest);
}

#endif

}  // namespace scrawl::SCRAWL_GPU
