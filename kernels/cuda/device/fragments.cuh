#pragma once
// Moves between memory and matrix fragments.  Rows in shared memory are kRowPadding values longer than what
// they hold, so that neither ldmatrix nor stores of fragments meet bank conflicts.
#include "kernels/cuda/device/bf16.cuh"
#include "kernels/cuda/device/mma.cuh"
#include "kernels/cuda/device/vector.cuh"
#include "kernels/cuda/device/warp.cuh"

namespace scrawl::SCRAWL_GPU {

inline constexpr int kRowPadding = 8;

/// Two neighbouring FragmentB, loaded by one instruction.
struct FragmentPairB {
  FragmentB b[2];
};

__device__ __forceinline__ FragmentPairB as_pair(const uint32_t* words) {
  return {{{{words[0], words[1]}}, {{words[2], words[3]}}}};
}

/// B [16, 16] from memory that holds its transpose: 16 rows (columns of B) of 16 values.
__device__ __forceinline__ FragmentPairB load_pair_transposed(const bf16* block, int stride) {
  const int lane = lane_index();
  uint32_t words[4];
  load_matrices<4>(words, block + (lane % 8 + lane / 16 * 8) * stride + lane / 8 % 2 * 8);
  return as_pair(words);
}

/// B [16, 16] from memory that holds B.
__device__ __forceinline__ FragmentPairB load_pair(const bf16* block, int stride) {
  const int lane = lane_index();
  uint32_t words[4];
  load_matrices<4, true>(words, block + lane % 16 * stride + lane / 16 * 8);
  return as_pair(words);
}

/// A [16, 16] from memory that holds its transpose.
__device__ __forceinline__ FragmentA load_a_transposed(const bf16* block, int stride) {
  const int lane = lane_index();
  FragmentA a;
  load_matrices<4, true>(a.words, block + (lane % 8 + lane / 16 * 8) * stride + lane / 8 % 2 * 8);
  return a;
}

/// Two neighbouring results [16, 8] as the left operand [16, 16] of the next product.
__device__ __forceinline__ FragmentA as_a(const FragmentD& left, const FragmentD& right) {
  return {{pack_bf16(left.values[0], left.values[1]), pack_bf16(left.values[2], left.values[3]),
           pack_bf16(right.values[0], right.values[1]), pack_bf16(right.values[2], right.values[3])}};
}

/// Transposes words[4] over the four lanes that share a row of a fragment: word i of lane m goes to word m of
/// lane i.  So 16 neighbouring bytes a lane become its words of four fragments, and back.
__device__ __forceinline__ void transpose_in_quad(Pack<unsigned, 4>& words) {
#pragma unroll
  for (int bit = 1; bit <= 2; bit *= 2) {
    const bool upper = lane_index() & bit;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (i & bit) continue;
      const int j = i | bit;
      const unsigned other = __shfl_xor_sync(kFullWarp, upper ? words[i] : words[j], bit);
      (upper ? words[i] : words[j]) = other;
    }
  }
}

/// Calls body(row, column, eight values) for all that the lane gets to hold of [16, 8 · count] in memory
/// order (all lanes call it; `count` is a multiple of 4).  `factor(half)` multiplies rows 0 … 7 or 8 … 15.
template <int count, typename Factor, typename Body>
__device__ __forceinline__ void for_packs(const FragmentD* d, Factor factor, Body body) {
  const int row = lane_index() / 4, member = lane_index() % 4;
#pragma unroll
  for (int half = 0; half < 2; ++half)
#pragma unroll
    for (int block = 0; block < count / 4; ++block) {
      Pack<unsigned, 4> low, high;  // fp32 bits: rounding comes last
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        low[i] = __float_as_uint(d[4 * block + i].values[2 * half] * factor(half));
        high[i] = __float_as_uint(d[4 * block + i].values[2 * half + 1] * factor(half));
      }
      transpose_in_quad(low);
      transpose_in_quad(high);
      Floats<8> values;
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        values[2 * i] = __uint_as_float(low[i]);
        values[2 * i + 1] = __uint_as_float(high[i]);
      }
      body(row + 8 * half, 32 * block + 8 * member, values);
    }
}

/// Adds N stored values to `values`.
template <int N, typename T>
__device__ __forceinline__ void add_stored(Floats<N>& values, const T* source) {
  const auto stored = load<N>(source);
#pragma unroll
  for (int i = 0; i < N; ++i) values[i] += stored[i];
}

}  // namespace scrawl::SCRAWL_GPU
