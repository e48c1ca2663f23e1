#pragma once
// How lanes go on with the rows of a product (row_product.cuh).  Of a row, four lanes hold eight
// neighbouring columns in every 32, so that maps are read and written by 16 bytes; for that the product,
// rounded as if it were stored, changes places among the four.
#include <bit>

#include "kernels/cuda/device/fragments.cuh"
#include "kernels/cuda/device/math.cuh"
#include "kernels/cuda/device/stand_in.cuh"
#include "kernels/cuda/matmul/row_product.cuh"

namespace scrawl::SCRAWL_GPU {

inline constexpr int kQuad = 4, kWidth = 8;           // lanes of a row, columns of a pack
inline constexpr int kBlockColumns = kQuad * kWidth;  // packs of a row's lanes, side by side
using Values = Floats<kWidth>;

/// A pack of bf16 as words: kept as half words, nvcc would take it to pieces.
using Stored = Pack<unsigned, kWidth / 2>;
__device__ __forceinline__ float value_of(const Stored& pack, int i) {
  return i % 2 == 0 ? low_bf16(pack[i / 2]) : high_bf16(pack[i / 2]);
}
__device__ __forceinline__ Values values_of(const Stored& pack) {
  return to_floats(std::bit_cast<Pack<bf16, kWidth>>(pack));
}
__device__ __forceinline__ Stored rounded(const Values& values) {
  return std::bit_cast<Stored>(to_pack<bf16>(values));
}

/// One of a lane's two rows.
struct LaneRow {
  int row;     // the last for those beyond it, whose results are not stored
  int column;  // of the lane's first pack
  bool exists;
  /// `first_column`: of the panel.
  __device__ LaneRow(int first, int half, int rows, int first_column = 0) {
    const int wanted = first + warp_index() * 16 + half * 8 + lane_index() / kQuad;
    row = min(wanted, rows - 1);
    column = first_column + lane_index() % kQuad * kWidth;
    exists = wanted < rows;
  }
  /// Where a pack lies in maps whose rows are `stride` values apart.
  __device__ int at(int pack, int stride) const { return row * stride + pack * kBlockColumns + column; }
};

/// This lane's packs of a row of `map`.
template <int columns>
__device__ __forceinline__ void load_row(Stored (&packs)[columns / kBlockColumns], const void* map,
                                         const LaneRow& row, int stride = columns) {
  reads_stand_in(!row.exists);
#pragma unroll
  for (int i = 0; i < columns / kBlockColumns; ++i)
    packs[i] = load_pack<kWidth / 2>(
        reinterpret_cast<const unsigned*>(static_cast<const bf16*>(map) + row.at(i, stride)));
  reads_stand_in(false);
}

template <int columns>
__device__ __forceinline__ void store_row(void* map, const LaneRow& row,
                                          const Stored (&packs)[columns / kBlockColumns],
                                          int stride = columns) {
#pragma unroll
  for (int i = 0; i < columns / kBlockColumns; ++i)
    store_pack(reinterpret_cast<unsigned*>(static_cast<bf16*>(map) + row.at(i, stride)), packs[i]);
}

/// A lane's packs of one of its rows of a product, as they would be stored.
template <int columns>
__device__ __forceinline__ void product_row(Stored (&packs)[columns / kBlockColumns],
                                            const ProductRows<columns>& product, int half) {
#pragma unroll
  for (int i = 0; i < columns / kBlockColumns; ++i) {
#pragma unroll
    for (int j = 0; j < kQuad; ++j) {
      const float* pair = &product[i / 2][i % 2 * 4 + j].values[2 * half];
      packs[i][j] = pack_bf16(pair[0], pair[1]);
    }
    transpose_in_quad(packs[i]);
  }
}

/// Sets the results of a lane's two rows to what begins at these rows of bf16.
template <int columns>
__device__ __forceinline__ void set_to_rows(ProductRows<columns>& results, const bf16* upper,
                                            const bf16* lower) {
#pragma unroll
  for (int j = 0; j < columns / 8; ++j) {
    const int column = 8 * j + FragmentD::column(0);
    const auto above = load<2>(upper + column), below = load<2>(lower + column);
    results[j / 8][j % 8] = {above[0], above[1], below[0], below[1]};
  }
}

}  // namespace scrawl::SCRAWL_GPU
