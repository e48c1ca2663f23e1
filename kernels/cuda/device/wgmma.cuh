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
// Only code for sm_90a has these instructions, so only *_wgmma.cu use them.
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

__device__ __forceinline__ TileOperand tile_operand(const bf16* tile) {
#ifdef __CUDACC__
  const unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(tile));
#else
  const unsigned address = shared_address(tile);
#endif
  // The stride from 8 rows to the next 8; the leading offset does not matter for operands one tile wide.
  constexpr uint64_t kStride = 8 * kTileColumns * sizeof(bf16), kSwizzle128 = uint64_t{1} << 62;
  return {(address & 0x3FFFF) >> 4 | uint64_t{1} << 16 | kStride >> 4 << 32 | kSwizzle128};
}

#ifdef __CUDACC__

/// Keeps what is done with accumulators on its side of this place.
template <int count>
__device__ __forceinline__ void pin(FragmentD (&d)[count]) {
#pragma unroll
  for (int i = 0; i < count; ++i)
    asm volatile(""
                 : "+f"(d[i].values[0]), "+f"(d[i].values[1]), "+f"(d[i].values[2]),
                   "+f"(d[i].values[3])::"memory");
}

/// Comes before the products that follow a wait or another use of their registers: wgmma.fence.
template <typename... D>
__device__ __forceinline__ void fence_products(D&... accumulators) {
  (pin(accumulators), ...);
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

/// D[64, 64] (+)= A · B, A in registers: wgmma.mma_async.m64n64k16.
template <Major of_b>
__device__ __forceinline__ void start_product(FragmentD (&d)[8], const FragmentA& a, TileOperand b,
                                              bool accumulate = true) {
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.b32 p, %37, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 "
      "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,"
      "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31}, "
      "{%32,%33,%34,%35}, %36, p, 1, 1, %38;\n}"
      : "+f"(d[0].values[0]), "+f"(d[0].values[1]), "+f"(d[0].values[2]), "+f"(d[0].values[3]),
        "+f"(d[1].values[0]), "+f"(d[1].values[1]), "+f"(d[1].values[2]), "+f"(d[1].values[3]),
        "+f"(d[2].values[0]), "+f"(d[2].values[1]), "+f"(d[2].values[2]), "+f"(d[2].values[3]),
        "+f"(d[3].values[0]), "+f"(d[3].values[1]), "+f"(d[3].values[2]), "+f"(d[3].values[3]),
        "+f"(d[4].values[0]), "+f"(d[4].values[1]), "+f"(d[4].values[2]), "+f"(d[4].values[3]),
        "+f"(d[5].values[0]), "+f"(d[5].values[1]), "+f"(d[5].values[2]), "+f"(d[5].values[3]),
        "+f"(d[6].values[0]), "+f"(d[6].values[1]), "+f"(d[6].values[2]), "+f"(d[6].values[3]),
        "+f"(d[7].values[0]), "+f"(d[7].values[1]), "+f"(d[7].values[2]), "+f"(d[7].values[3])
      : "r"(a.words[0]), "r"(a.words[1]), "r"(a.words[2]), "r"(a.words[3]), "l"(b.descriptor),
        "r"(int{accumulate}), "n"(static_cast<int>(of_b)));
}
/// D[64, 104] (+)= A · B, A in registers: wgmma.mma_async.m64n104k16.
template <Major of_b>
__device__ __forceinline__ void start_product(FragmentD (&d)[13], const FragmentA& a, TileOperand b,
                                              bool accumulate = true) {
  static_assert(of_b == Major::k, "operands are one tile wide");
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.b32 p, %57, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n104k16.f32.bf16.bf16 "
      "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,"
      "%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31,%32,%33,%34,%35,%36,%37,%38,%39,"
      "%40,%41,%42,%43,%44,%45,%46,%47,%48,%49,%50,%51}, "
      "{%52,%53,%54,%55}, %56, p, 1, 1, 0;\n}"
      : "+f"(d[0].values[0]), "+f"(d[0].values[1]), "+f"(d[0].values[2]), "+f"(d[0].values[3]),
        "+f"(d[1].values[0]), "+f"(d[1].values[1]), "+f"(d[1].values[2]), "+f"(d[1].values[3]),
        "+f"(d[2].values[0]), "+f"(d[2].values[1]), "+f"(d[2].values[2]), "+f"(d[2].values[3]),
        "+f"(d[3].values[0]), "+f"(d[3].values[1]), "+f"(d[3].values[2]), "+f"(d[3].values[3]),
        "+f"(d[4].values[0]), "+f"(d[4].values[1]), "+f"(d[4].values[2]), "+f"(d[4].values[3]),
        "+f"(d[5].values[0]), "+f"(d[5].values[1]), "+f"(d[5].values[2]), "+f"(d[5].values[3]),
        "+f"(d[6].values[0]), "+f"(d[6].values[1]), "+f"(d[6].values[2]), "+f"(d[6].values[3]),
        "+f"(d[7].values[0]), "+f"(d[7].values[1]), "+f"(d[7].values[2]), "+f"(d[7].values[3]),
        "+f"(d[8].values[0]), "+f"(d[8].values[1]), "+f"(d[8].values[2]), "+f"(d[8].values[3]),
        "+f"(d[9].values[0]), "+f"(d[9].values[1]), "+f"(d[9].values[2]), "+f"(d[9].values[3]),
        "+f"(d[10].values[0]), "+f"(d[10].values[1]), "+f"(d[10].values[2]), "+f"(d[10].values[3]),
        "+f"(d[11].values[0]), "+f"(d[11].values[1]), "+f"(d[11].values[2]), "+f"(d[11].values[3]),
        "+f"(d[12].values[0]), "+f"(d[12].values[1]), "+f"(d[12].values[2]), "+f"(d[12].values[3])
      : "r"(a.words[0]), "r"(a.words[1]), "r"(a.words[2]), "r"(a.words[3]), "l"(b.descriptor),
        "r"(int{accumulate}));
}
/// D[64, 32] (+)= A · B: wgmma.mma_async.m64n32k16.
template <Major of_a, Major of_b>
__device__ __forceinline__ void start_product(FragmentD (&d)[4], TileOperand a, TileOperand b,
                                              bool accumulate = true) {
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.b32 p, %18, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n32k16.f32.bf16.bf16 "
      "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15}, "
      "%16, %17, p, 1, 1, %19, %20;\n}"
      : "+f"(d[0].values[0]), "+f"(d[0].values[1]), "+f"(d[0].values[2]), "+f"(d[0].values[3]),
        "+f"(d[1].values[0]), "+f"(d[1].values[1]), "+f"(d[1].values[2]), "+f"(d[1].values[3]),
        "+f"(d[2].values[0]), "+f"(d[2].values[1]), "+f"(d[2].values[2]), "+f"(d[2].values[3]),
        "+f"(d[3].values[0]), "+f"(d[3].values[1]), "+f"(d[3].values[2]), "+f"(d[3].values[3])
      : "l"(a.descriptor), "l"(b.descriptor), "r"(int{accumulate}), "n"(static_cast<int>(of_a)),
        "n"(static_cast<int>(of_b)));
}
/// D[64, 64] (+)= A · B: wgmma.mma_async.m64n64k16.
template <Major of_a, Major of_b>
__device__ __forceinline__ void start_product(FragmentD (&d)[8], TileOperand a, TileOperand b,
                                              bool accumulate = true) {
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.b32 p, %34, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 "
      "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,"
      "%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31}, "
      "%32, %33, p, 1, 1, %35, %36;\n}"
      : "+f"(d[0].values[0]), "+f"(d[0].values[1]), "+f"(d[0].values[2]), "+f"(d[0].values[3]),
        "+f"(d[1].values[0]), "+f"(d[1].values[1]), "+f"(d[1].values[2]), "+f"(d[1].values[3]),
        "+f"(d[2].values[0]), "+f"(d[2].values[1]), "+f"(d[2].values[2]), "+f"(d[2].values[3]),
        "+f"(d[3].values[0]), "+f"(d[3].values[1]), "+f"(d[3].values[2]), "+f"(d[3].values[3]),
        "+f"(d[4].values[0]), "+f"(d[4].values[1]), "+f"(d[4].values[2]), "+f"(d[4].values[3]),
        "+f"(d[5].values[0]), "+f"(d[5].values[1]), "+f"(d[5].values[2]), "+f"(d[5].values[3]),
        "+f"(d[6].values[0]), "+f"(d[6].values[1]), "+f"(d[6].values[2]), "+f"(d[6].values[3]),
        "+f"(d[7].values[0]), "+f"(d[7].values[1]), "+f"(d[7].values[2]), "+f"(d[7].values[3])
      : "l"(a.descriptor), "l"(b.descriptor), "r"(int{accumulate}), "n"(static_cast<int>(of_a)),
        "n"(static_cast<int>(of_b)));
}
/// D[64, 80] (+)= A · B: wgmma.mma_async.m64n80k16.
template <Major of_a, Major of_b>
__device__ __forceinline__ void start_product(FragmentD (&d)[10], TileOperand a, TileOperand b,
                                              bool accumulate = true) {
  static_assert(of_b == Major::k, "operands are one tile wide");
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.b32 p, %42, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n80k16.f32.bf16.bf16 "
      "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,"
      "%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31,%32,%33,%34,%35,%36,%37,%38,%39}, "
      "%40, %41, p, 1, 1, %43, 0;\n}"
      : "+f"(d[0].values[0]), "+f"(d[0].values[1]), "+f"(d[0].values[2]), "+f"(d[0].values[3]),
        "+f"(d[1].values[0]), "+f"(d[1].values[1]), "+f"(d[1].values[2]), "+f"(d[1].values[3]),
        "+f"(d[2].values[0]), "+f"(d[2].values[1]), "+f"(d[2].values[2]), "+f"(d[2].values[3]),
        "+f"(d[3].values[0]), "+f"(d[3].values[1]), "+f"(d[3].values[2]), "+f"(d[3].values[3]),
        "+f"(d[4].values[0]), "+f"(d[4].values[1]), "+f"(d[4].values[2]), "+f"(d[4].values[3]),
        "+f"(d[5].values[0]), "+f"(d[5].values[1]), "+f"(d[5].values[2]), "+f"(d[5].values[3]),
        "+f"(d[6].values[0]), "+f"(d[6].values[1]), "+f"(d[6].values[2]), "+f"(d[6].values[3]),
        "+f"(d[7].values[0]), "+f"(d[7].values[1]), "+f"(d[7].values[2]), "+f"(d[7].values[3]),
        "+f"(d[8].values[0]), "+f"(d[8].values[1]), "+f"(d[8].values[2]), "+f"(d[8].values[3]),
        "+f"(d[9].values[0]), "+f"(d[9].values[1]), "+f"(d[9].values[2]), "+f"(d[9].values[3])
      : "l"(a.descriptor), "l"(b.descriptor), "r"(int{accumulate}), "n"(static_cast<int>(of_a)));
}

#else

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
inline void show_products() {}

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
template <Major of_a, Major of_b, int count>
void start_product(FragmentD (&d)[count], TileOperand a, TileOperand b, bool accumulate = true,
                   std::source_location where = std::source_location::current()) {
  start_product({.d = d[0].values,
                 .columns = 8 * count,
                 .a_descriptor = a.descriptor,
                 .a_transposed = of_a == Major::mn,
                 .b_descriptor = b.descriptor,
                 .b_transposed = of_b == Major::mn,
                 .accumulate = accumulate,
                 .where = where});
}

#endif

}  // namespace scrawl::SCRAWL_GPU
