#pragma once
// What the attention kernels of warpgroups (backward_wgmma.cu, forward_wgmma.cu) have in common:
// rows of heads of 64 values as tiles and as operands of products.
#include "kernels/cuda/device/async_copy.cuh"
#include "kernels/cuda/device/fragments.cuh"
#include "kernels/cuda/device/wgmma.cuh"

namespace scrawl::SCRAWL_GPU {

inline constexpr int kTilePacks = kTileColumns / 8;  // of 16 bytes in a row

/// A warp's 16 rows of a tile as left operands.
struct TileRows {
  FragmentA a[kTileColumns / 16];

  __device__ __forceinline__ TileRows(const bf16* tile, int row) {
#pragma unroll
    for (int i = 0; i < kTileColumns / 16; ++i)
      load_matrices<4>(a[i].words,
                       tile + tile_offset(row + lane_index() % 16, 16 * i + lane_index() / 16 * 8));
  }
};

/// Starts d = rows · (tile of rows)ᵀ.
template <int count>
__device__ __forceinline__ void start_scores(FragmentD (&d)[count], const TileRows& rows, TileOperand tile) {
#pragma unroll
  for (int i = 0; i < kTileColumns / 16; ++i)
    start_product<Major::k>(d, rows.a[i], tile.from(0, 16 * i), i > 0);
  commit_products();
}

/// The same of 64 rows in shared memory.
template <int count>
__device__ __forceinline__ void start_scores(FragmentD (&d)[count], TileOperand rows, TileOperand tile) {
#pragma unroll
  for (int i = 0; i < kTileColumns / 16; ++i)
    start_product<Major::k, Major::k>(d, rows.from(0, 16 * i), tile.from(0, 16 * i), i > 0);
  commit_products();
}

/// Starts d (+)= weights · tile of rows.
template <int count>
__device__ __forceinline__ void start_sums(FragmentD (&d)[8], const FragmentA (&weights)[count],
                                           TileOperand tile, bool accumulate = true) {
#pragma unroll
  for (int i = 0; i < count; ++i)
    start_product<Major::mn>(d, weights[i], tile.from(16 * i, 0), accumulate || i > 0);
  commit_products();
}

/// What a thread holds of neighbouring tiles of results as left operands, padded by zeros.
template <int count>
__device__ __forceinline__ void to_operands(FragmentA (&a)[(count + 1) / 2], const FragmentD (&d)[count]) {
#pragma unroll
  for (int i = 0; i < count / 2; ++i) a[i] = as_a(d[2 * i], d[2 * i + 1]);
  if constexpr (count % 2 == 1) a[count / 2] = as_a(d[count - 1], FragmentD{});
}

}  // namespace scrawl::SCRAWL_GPU
