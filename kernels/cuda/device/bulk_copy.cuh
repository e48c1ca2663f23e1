#pragma once
// Copies of whole tiles from a tensor in global memory to shared memory, which one thread starts and a unit
// of the multiprocessor carries out (cp.async.bulk.tensor, compute capability 9.0).  They arrive as operands
// of wgmma lie (tile_offset() in device/wgmma.cuh); what is beyond the tensor arrives as zeros.  A barrier
// in shared memory counts the bytes: for each of its phases one thread says how many are to come and starts
// the copies, and any thread may wait for the phase's end.
#include <cstdint>

#include "kernels/cuda/device/backend.cuh"
#include "kernels/cuda/runtime/tensor_map.h"
#ifndef __CUDACC__
#include "kernels/simt/bulk_copy.h"
#endif

namespace scrawl::SCRAWL_GPU {

/// Where a tile begins, in the tensor's dimensions; may be outside of it.
struct TilePlace {
  int at[5];
};

/// For phase 0, 1, 2 …, of which only the one that runs and the one before can be told apart.
struct CopyBarrier {
  uint64_t word;
};

#ifdef __CUDACC__

__device__ __forceinline__ unsigned shared_address_of(const void* pointer) {
  return static_cast<unsigned>(__cvta_generic_to_shared(pointer));
}

/// By one thread, ahead of a barrier of the block.
__device__ __forceinline__ void start_barrier(CopyBarrier& barrier) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(shared_address_of(&barrier)) : "memory");
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}
/// Announces the bytes of the phase that runs.
__device__ __forceinline__ void expect_bytes(CopyBarrier& barrier, unsigned bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address_of(&barrier)),
               "r"(bytes)
               : "memory");
}
/// Starts the copy of a tile, for the phase that runs.
__device__ __forceinline__ void copy_tile_bulk(bf16* tile, const TensorMap& map, const TilePlace& place,
                                               CopyBarrier& barrier) {
  const int(&at)[5] = place.at;
  asm volatile(
      "cp.async.bulk.tensor.5d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3, %4, "
      "%5, %6}], [%7];" ::"r"(shared_address_of(tile)),
      "l"(&map), "r"(at[0]), "r"(at[1]), "r"(at[2]), "r"(at[3]), "r"(at[4]), "r"(shared_address_of(&barrier))
      : "memory");
}
/// Waits for the end of a phase.
__device__ __forceinline__ void wait_for_phase(CopyBarrier& barrier, unsigned phase) {
  unsigned done = 0;
  while (!done)
    asm volatile(
        "{\n.reg .pred p;\nmbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\nselp.u32 %0, 1, 0, p;\n}"
        : "=r"(done)
        : "r"(shared_address_of(&barrier)), "r"(phase & 1)
        : "memory");
}

#else

inline void start_barrier(CopyBarrier& barrier,
                          std::source_location where = std::source_location::current()) {
  start_copy_barrier(&barrier, where);
}
inline void expect_bytes(CopyBarrier& barrier, unsigned bytes,
                         std::source_location where = std::source_location::current()) {
  expect_copies(&barrier, bytes, where);
}
inline void copy_tile_bulk(bf16* tile, const TensorMap& map, const TilePlace& place, CopyBarrier& barrier,
                           std::source_location where = std::source_location::current()) {
  start_bulk_copy(tile, map, place.at, &barrier, where);
}
inline void wait_for_phase(CopyBarrier& barrier, unsigned phase,
                           std::source_location where = std::source_location::current()) {
  wait_for_bulk_copies(&barrier, phase % 2, where);
}

#endif

}  // namespace scrawl::SCRAWL_GPU
