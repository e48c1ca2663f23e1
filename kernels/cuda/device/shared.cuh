#pragma once
// Shared memory.  An array of fixed size is asked for by type and a name of its own:
//   auto& tile = shared<float[32][33], struct Tile>();
// Threads that ask for the same type and name in the same function get the same array.  The simulator fills
// arrays with a pattern that reads as NaN when a block starts, and guards both of their ends.
#include "kernels/cuda/device/backend.cuh"
#ifndef __CUDACC__
#include "kernels/simt/shared_memory.h"
#endif

namespace scrawl::SCRAWL_GPU {

#ifdef __CUDACC__

template <typename T, typename Name>
__device__ __forceinline__ T& shared() {
  __shared__ alignas(16) T storage;
  return storage;
}

/// The launch's shared_bytes, aligned to 128 bytes, or to 1024 for types that need more.  The same memory for
/// every type.
template <typename T>
__device__ __forceinline__ T* dynamic_shared() {
  if constexpr (alignof(T) <= 128) {
    extern __shared__ __align__(128) unsigned char scrawl_dynamic_shared[];
    return reinterpret_cast<T*>(scrawl_dynamic_shared);
  } else {
    static_assert(alignof(T) <= 1024);
    extern __shared__ __align__(1024) unsigned char scrawl_dynamic_shared_1024[];
    return reinterpret_cast<T*>(scrawl_dynamic_shared_1024);
  }
}

#else

template <typename T, typename Name>
T& shared() {
  static const char key = 0;  // its address names the array
  return *static_cast<T*>(static_shared_memory(&key, sizeof(T)));
}

template <typename T>
T* dynamic_shared() {
  return static_cast<T*>(dynamic_shared_memory());
}

#endif

}  // namespace scrawl::SCRAWL_GPU
