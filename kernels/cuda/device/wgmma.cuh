#pragma once
// Products of a warpgroup (four neighbouring warps, the first one's number a multiple of 4) on the tensor
// cores of compute capability 9.0: D[64, N] (+)= A[64, 16] · B[16, N] with A and B in bf16 and D in fp32 (PTX
// ISA, "Asynchronous Warpgroup Level Matrix Instructions").  They run beside the threads: a warpgroup starts
// products, closes them into a group, and waits until all but the newest groups are done.  Till then neither
// their registers nor their shared memory may change.  Warp w of the four holds rows 16 w … 16 w + 15 of A
// and D, in the layout of FragmentA and FragmentD (device/mma.cuh).
// Operands in shared memory are tiles: rows of 64 values, 128 bytes, in which the 16-byte piece c of row r
// lies in place c ^ (r % 8), so that neither rows nor columns of pieces meet bank conflicts ("128-byte
// swizzling").  Tiles are aligned to 1024 bytes.
// Only code for sm_90a has these instructions, so only *_wgmma.cu use them.  The instructions themselves, one
// for each N, are in device/wgmma_shapes.cuh.
#include <cstdint>

#include "kernels/cuda/device/mma.cuh"
#ifndef __CUDACC__
#include "kernels/simt/wgmma.h"
#endif

namespace scrawl::SCRAWL_GPU {

inline constexpr int kWarpgroupThreads = 128;
inline constexpr int kTileColumns = 64;

/// Where a tile holds (row, column).
__device__ __forceinline__ constexpr int tile_offset(int row, int column) {
  return row * kTileColumns + ((column / 8 ^ row % 8) * 8 + column % 8);
}

/// What a row of a tile holds: 16 values along k of one row of A (column of B), or for one k values of many
/// rows of A (columns of B).  The number is that of the instruction's transposition.
enum class Major { k = 0, mn = 1 };

/// A part of a tile as operand; PTX ISA, "Matrix Descriptor Format".
struct TileOperand {
  uint64_t descriptor;

  /// The part that starts `rows` (multiples of 8) and `columns` (multiples of 16) further on.
  __device__ __forceinline__ TileOperand from(int rows, int columns) const {
    return {descriptor + (rows * kTileColumns + columns) * sizeof(bf16) / 16};
  }
};

/// `next_tile`: how many values further on the tile lies that continues an operand along mn of more than 64
/// rows of A or columns of B.  Along k an operand is one tile of as many rows.
__device__ __forceinline__ TileOperand tile_operand(const bf16* tile, int next_tile = 8) {
#ifdef __CUDACC__
  const unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(tile));
#else
  const unsigned address = shared_address(tile);
#endif
  // The stride leads from 8 rows to the next 8, the leading offset from a tile to the next.
  constexpr uint64_t kStride = 8 * kTileColumns * sizeof(bf16), kSwizzle128 = uint64_t{1} << 62;
  const uint64_t leading = next_tile * sizeof(bf16) >> 4;
  return {(address & 0x3FFFF) >> 4 | leading << 16 | kStride >> 4 << 32 | kSwizzle128};
}

#ifdef __CUDACC__

/// Keeps what is done with operands in registers on its side of this place.
__device__ __forceinline__ void pin(FragmentD& d) {
  asm volatile("" : "+f"(d.values[0]), "+f"(d.values[1]), "+f"(d.values[2]), "+f"(d.values[3])::"memory");
}
__device__ __forceinline__ void pin(FragmentA& a) {
  asm volatile("" : "+r"(a.words[0]), "+r"(a.words[1]), "+r"(a.words[2]), "+r"(a.words[3])::"memory");
}
template <typename Fragment, int count>
__device__ __forceinline__ void pin(Fragment (&fragments)[count]) {
#pragma unroll
  for (int i = 0; i < count; ++i) pin(fragments[i]);
}

/// Has values computed here.  The assembler would put that off until behind the next wait, when no product
/// runs beside it any more, unless a store hangs on them: to `nowhere`, a word of shared memory that nobody
/// reads.
template <int count>
__device__ __forceinline__ void finish_here(const FragmentD (&values)[count], unsigned& nowhere) {
  unsigned bits = 0;
#pragma unroll
  for (const FragmentD& d : values)
#pragma unroll
    for (const float value : d.values) bits |= __float_as_uint(value);
  const unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(&nowhere));
  asm volatile("st.volatile.shared.u32 [%0], %1;" ::"r"(address), "r"(bits) : "memory");
}

/// Comes before the products that follow a wait or another use of their registers, those of left operands
/// included: wgmma.fence.
template <typename... Operands>
__device__ __forceinline__ void fence_products(Operands&... in_registers) {
  (pin(in_registers), ...);
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
/// Closes the products started since the last call into a group: wgmma.commit_group.
__device__ __forceinline__ void commit_products() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
/// Waits until at most `newest` groups are under way, and names the accumulators that may be read from here
/// on: wgmma.wait_group.
template <int newest, typename... D>
__device__ __forceinline__ void wait_products(D&... accumulators) {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(newest) : "memory");
  (pin(accumulators), ...);
}
/// Shows this thread's writes to shared memory to products that are started behind the next barrier:
/// fence.proxy.async.
__device__ __forceinline__ void show_products() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

#else

template <typename D>
void pin(D&) {}
template <typename D>
void finish_here(const D&, unsigned&) {}
template <typename... D>
void fence_products(D&...) {
  fence_warpgroup(std::source_location::current());
}
inline void commit_products(std::source_location where = std::source_location::current()) {
  close_product_group(where);
}
template <int newest, typename... D>
void wait_products(D&...) {
  wait_for_products(newest, std::source_location::current());
}
inline void show_products() {
  show_writes();
}

template <Major of_b, int count>
void start_product(FragmentD (&d)[count], const FragmentA& a, TileOperand b, bool accumulate = true,
                   std::source_location where = std::source_location::current()) {
  start_product({.d = d[0].values,
                 .columns = 8 * count,
                 .a = a.words,
                 .b_descriptor = b.descriptor,
                 .b_transposed = of_b == Major::mn,
                 .accumulate = accumulate,
                 .where = where});
}
template <Major of_a, Major of_b>
void start_product_of_tiles(float* d, int columns, TileOperand a, TileOperand b, bool accumulate,
                            std::source_location where) {
  start_product({.d = d,
                 .columns = columns,
                 .a_descriptor = a.descriptor,
                 .a_transposed = of_a == Major::mn,
                 .b_descriptor = b.descriptor,
                 .b_transposed = of_b == Major::mn,
                 .accumulate = accumulate,
                 .where = where});
}
template <Major of_a, Major of_b>
void start_product(FragmentD& d, TileOperand a, TileOperand b, bool accumulate = true,
                   std::source_location where = std::source_location::current()) {
  start_product_of_tiles<of_a, of_b>(d.values, 8, a, b, accumulate, where);
}
template <Major of_a, Major of_b, int count>
void start_product(FragmentD (&d)[count], TileOperand a, TileOperand b, bool accumulate = true,
                   std::source_location where = std::source_location::current()) {
  start_product_of_tiles<of_a, of_b>(d[0].values, 8 * count, a, b, accumulate, where);
}
template <Major of_a, Major of_b>
void start_product(FragmentD (&d)[2][8], TileOperand a, TileOperand b, bool accumulate = true,
                   std::source_location where = std::source_location::current()) {
  start_product_of_tiles<of_a, of_b>(d[0][0].values, 128, a, b, accumulate, where);
}

#endif

}  // namespace scrawl::SCRAWL_GPU

#ifdef __CUDACC__
#include "kernels/cuda/device/wgmma_shapes.cuh"
#endif
