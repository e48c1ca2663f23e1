#pragma once
// Rows of up to 32 values without gaps, as a classifier's results lie: odd numbers of values are no whole
// packs, but many rows together are.
#include "kernels/cuda/device/async_copy.cuh"
#include "kernels/cuda/device/elementwise.cuh"
#include "kernels/cuda/device/fragments.cuh"
#include "kernels/cuda/device/math.cuh"

namespace scrawl::SCRAWL_GPU {

inline constexpr int kMostDense = 32;

/// Starts a copy of rows [first, first + rows) by all threads, with zeros for those from `end` on; `first`
/// and `rows` are multiples of 8.
template <int rows, int threads>
__device__ void start_dense(bf16* target, const bf16* source, int64_t first, int64_t end, int row_size) {
  const bf16* from = source + first * row_size;
  const int values = static_cast<int>(min(int64_t{rows}, max(end - first, int64_t{0}))) * row_size;
  const int all = rows * row_size;  // whole packs
  for (int i = 8 * static_cast<int>(threadIdx.x); i < all; i += 8 * threads) {
    if (i + 8 <= values) {
      copy_async<16>(target + i, from + i, true);
      continue;
    }
    for (int k = i; k < i + 8; ++k) target[k] = k < values ? from[k] : as_storage<bf16>(0.0f);
  }
}

/// A [16, 16] from rows in shared memory, from term `first` of a row on; further terms are zeros.
__device__ __forceinline__ FragmentA dense_a(const bf16* rows, int row_size, int first) {
  const int group = lane_index() / 4, member = lane_index() % 4;
  FragmentA a;
#pragma unroll
  for (int word = 0; word < 4; ++word) {
    const bf16* row = rows + (group + word % 2 * 8) * row_size;
    const int term = first + 2 * member + word / 2 * 8;
    const unsigned low = term < row_size ? row[term].bits : 0;
    const unsigned high = term + 1 < row_size ? row[term + 1].bits : 0;
    a.words[word] = low | high << 16;
  }
  return a;
}

/// A [16, 16] from rows in shared memory that hold its transpose: terms of A from row `term` on, its rows
/// from `row` on; further ones are zeros.
__device__ __forceinline__ FragmentA dense_a_transposed(const bf16* rows, int row_size, int term, int row) {
  const int group = lane_index() / 4, member = lane_index() % 4;
  FragmentA a;
#pragma unroll
  for (int word = 0; word < 4; ++word) {
    const int at = row + group + word % 2 * 8;
    const bf16* low = rows + (term + 2 * member + word / 2 * 8) * row_size + at;
    a.words[word] = at < row_size ? low[0].bits | unsigned{low[row_size].bits} << 16 : 0u;
  }
  return a;
}

}  // namespace scrawl::SCRAWL_GPU
