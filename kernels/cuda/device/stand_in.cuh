#pragma once
// Threads without a row read that of another, since a branch around loads costs more than the loads, and make
// nothing of it.  The owner may write there meanwhile: no race, which the simulator has to be told.
#include "kernels/cuda/device/backend.cuh"
#ifndef __CUDACC__
#include "kernels/simt/observer.h"
#endif

namespace scrawl::SCRAWL_GPU {

/// Whether what this thread reads of global memory until its next call stands in for what it lacks.
__device__ __forceinline__ void reads_stand_in(bool stands_in) {
#ifdef __CUDACC__
  static_cast<void>(stands_in);
#else
  if (observer) observer->reads_stand_in(stands_in);
#endif
}

}  // namespace scrawl::SCRAWL_GPU
