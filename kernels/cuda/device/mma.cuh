#pragma once
// Matrix fragments on tensor cores: D[16, 8] += A[16, 16] · B[16, 8] with A and B in bf16 and D in fp32,
// instruction mma.sync.aligned.m16n8k16.row.col (compute capability 8.0 and newer).  The warp holds the
// matrices together.  With group = lane / 4 and member = lane % 4 (PTX ISA, "Matrix Fragments for
// mma.m16n8k16"):
//   A.words[0]  row group,     columns 2·member, +1        A.words[1]  row group + 8, same columns
//   A.words[2]  row group,     columns 2·member + 8, +9    A.words[3]  row group + 8, same columns
//   B.words[0]  column group,  rows 2·member, +1           B.words[1]  column group,  rows 2·member + 8, +9
//   D.values[i] row group + 8 · (i / 2), column 2·member + i % 2
// A word holds the lower index in its lower half.
#include <cstdint>

#include "kernels/bf16.h"
#include "kernels/cuda/device/thread.cuh"
#ifndef __CUDACC__
#include "kernels/simt/mma.h"
#endif

namespace scrawl::SCRAWL_GPU {

struct FragmentA {
  uint32_t words[4];
};
struct FragmentB {
  uint32_t words[2];
};
struct FragmentD {
  float values[4] = {0.0f, 0.0f, 0.0f, 0.0f};
  __device__ static int row(int i) { return lane_index() / 4 + 8 * (i / 2); }
  __device__ static int column(int i) { return lane_index() % 4 * 2 + i % 2; }
};

/// d += a · b.  All 32 lanes call it together.
__device__ __forceinline__ void mma(FragmentD& d, const FragmentA& a, const FragmentB& b) {
#ifdef __CUDACC__
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
      "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d.values[0]), "+f"(d.values[1]), "+f"(d.values[2]), "+f"(d.values[3])
      : "r"(a.words[0]), "r"(a.words[1]), "r"(a.words[2]), "r"(a.words[3]), "r"(b.words[0]), "r"(b.words[1]));
#else
  mma_m16n8k16(d.values, a.words, b.words);
#endif
}

/// Loads `count` (1, 2 or 4) matrices of 8 × 8 bf16 from shared memory: lane 8·i + r gives the address of row
/// r of matrix i (16 bytes, aligned), and words[i] of a lane becomes row lane / 4, columns 2·(lane % 4), +1
/// of matrix i; transposed: of its transpose.  Addresses of lanes from 8·count on are not used.
template <int count, bool transposed = false>
__device__ __forceinline__ void load_matrices(uint32_t* words, const void* row) {
  static_assert(count == 1 || count == 2 || count == 4);
#ifdef __CUDACC__
  const unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(row));
  if constexpr (count == 4 && transposed)
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
                 : "r"(address)
                 : "memory");
  else if constexpr (count == 4)
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
                 : "r"(address)
                 : "memory");
  else if constexpr (count == 2 && transposed)
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];"
                 : "=r"(words[0]), "=r"(words[1])
                 : "r"(address)
                 : "memory");
  else if constexpr (count == 2)
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];"
                 : "=r"(words[0]), "=r"(words[1])
                 : "r"(address)
                 : "memory");
  else if constexpr (transposed)
    asm volatile("ldmatrix.sync.aligned.m8n8.x1.trans.shared.b16 {%0}, [%1];"
                 : "=r"(words[0])
                 : "r"(address)
                 : "memory");
  else
    asm volatile("ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%0}, [%1];"
                 : "=r"(words[0])
                 : "r"(address)
                 : "memory");
#else
  ldmatrix(words, row, count, transposed);
#endif
}

/// The way back of two such matrices: by one instruction from compute capability 9.0 on.
__device__ __forceinline__ void store_matrices(void* row, uint32_t first, uint32_t second) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  const unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(row));
  asm volatile("stmatrix.sync.aligned.m8n8.x2.shared.b16 [%0], {%1, %2};" ::"r"(address), "r"(first),
               "r"(second)
               : "memory");
#else
  const int group = lane_index() / 4, member = lane_index() % 4;
  const auto address = reinterpret_cast<uintptr_t>(row);
  reinterpret_cast<uint32_t*>(__shfl_sync(kFullWarp, address, group))[member] = first;
  reinterpret_cast<uint32_t*>(__shfl_sync(kFullWarp, address, group + 8))[member] = second;
#endif
}

/// A's 16 × 16 block whose first value lies at `block` in shared memory, rows `stride` values apart.  Rows
/// are aligned to 16 bytes; no bank conflicts when stride · 2 bytes ≡ 16 mod 128.
__device__ __forceinline__ FragmentA load_a(const bf16* block, int stride) {
  FragmentA a;
  const int lane = lane_index();
  load_matrices<4>(a.words, block + lane % 16 * stride + lane / 16 * 8);
  return a;
}
/// B from memory that holds its transpose: 8 rows (columns of B) of 16 values, `stride` apart, as K lies when
/// Q · Kᵀ is wanted.
__device__ __forceinline__ FragmentB load_b_transposed(const bf16* block, int stride) {
  FragmentB b;
  const int lane = lane_index() % 16;
  load_matrices<2>(b.words, block + lane % 8 * stride + lane / 8 * 8);
  return b;
}
/// B from memory that holds B: 16 rows of 8 values, `stride` apart, as V lies when P · V is wanted.
__device__ __forceinline__ FragmentB load_b(const bf16* block, int stride) {
  FragmentB b;
  load_matrices<2, true>(b.words, block + lane_index() % 16 * stride);
  return b;
}

}  // namespace scrawl::SCRAWL_GPU
