#pragma once
// Rows of heads as matrix fragments, and their way to shared memory, for the attention kernels on tensor
// cores.
#include "kernels/cuda/device/async_copy.cuh"
#include "kernels/cuda/device/fragments.cuh"

namespace scrawl::SCRAWL_GPU {

/// Fragments A of 16 rows of `D` values in memory, `stride` apart, of which `rows` × `size` exist; the others
/// are zeros.  What is read is also written to `copy`, if that is not null.
template <int D>
struct RowsA {
  FragmentA a[D / 16];

  __device__ void load(const bf16* source, int stride, int rows, int size, bf16* copy, int copy_stride) {
    const int row = lane_index() / 4, member = lane_index() % 4;
#pragma unroll
    for (int half = 0; half < 2; ++half)
#pragma unroll
      for (int block = 0; block < D / 32; ++block) {
        const int r = row + 8 * half, column = 32 * block + 8 * member;
        Pack<unsigned, 4> words{};
        if (r < rows && column < size) {
          words = load_pack<4>(reinterpret_cast<const unsigned*>(source + r * stride + column));
          if (copy) store_pack<4>(reinterpret_cast<unsigned*>(copy + r * copy_stride + column), words);
        }
        transpose_in_quad(words);
#pragma unroll
        for (int i = 0; i < 4; ++i) a[2 * block + i / 2].words[i % 2 * 2 + half] = words[i];
      }
  }
};

/// Starts copies of rows `row_of(0)` … `row_of(count − 1)` to shared memory, `padded` rows of D values there;
/// what does not exist becomes zeros.  All threads of the block call it.
template <int D, typename RowOf>
__device__ __forceinline__ void copy_rows(bf16* target, const bf16* source, int stride, int count, int padded,
                                          int size, RowOf row_of) {
  constexpr int kPacks = D / 8;
  for (int i = threadIdx.x; i < padded * kPacks; i += blockDim.x) {
    const int row = i / kPacks, column = i % kPacks * 8;
    const bool exists = row < count && column < size;
    copy_async<16>(target + row * (D + kRowPadding) + column,
                   exists ? source + row_of(row) * stride + column : source, exists);
  }
}

/// Adds up the results [16, D] of warps that share a tile, group by group; they arrive in group 0.  All
/// threads of the block call it.
template <int D>
__device__ void add_groups(FragmentD* d, float* memory, int tiles, int tile, int group, int groups) {
  constexpr int kWarpFloats = D / 8 * 4 * kWarpSize;
  __syncthreads();  // the memory has served others
  if (group > 0 && group < groups) {
    float* mine = memory + ((group - 1) * tiles + tile) * kWarpFloats + lane_index();
#pragma unroll
    for (int i = 0; i < D / 2; ++i) mine[i * kWarpSize] = d[i / 4].values[i % 4];
  }
  __syncthreads();
  if (group == 0)
#pragma unroll 1
    for (int other = 1; other < groups; ++other) {
      const float* theirs = memory + ((other - 1) * tiles + tile) * kWarpFloats + lane_index();
#pragma unroll
      for (int i = 0; i < D / 2; ++i) d[i / 4].values[i % 4] += theirs[i * kWarpSize];
    }
}

/// Calls body(std::integral_constant<int, D>) with the padded head size 32, 64 or 128.
template <typename Body>
void with_padded_size(int size, Body body) {
  if (size <= 32) return body(std::integral_constant<int, 32>{});
  if (size <= 64) return body(std::integral_constant<int, 64>{});
  return body(std::integral_constant<int, 128>{});
}

/// Whether rows of `size` values fit the tensor core kernels.
inline bool fits_fragments(int size) {
  return size % 8 == 0 && size > 0 && size <= 128;
}

}  // namespace scrawl::SCRAWL_GPU
