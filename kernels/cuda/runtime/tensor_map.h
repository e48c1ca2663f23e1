#pragma once
// What a GPU's unit for copies of tiles knows of a tensor; see device/bulk_copy.cuh.
#include <array>
#include <cstdint>

#include "kernels/bf16.h"

namespace scrawl {

/// A tensor of five dimensions, the first of which is dense, and the part of it that is copied at once: a
/// tile of 64 columns, 128 bytes, of the first dimension, and of as many rows as the others make together.
struct TiledTensor {
  const bf16* values;
  std::array<int64_t, 5> sizes;
  std::array<int64_t, 4> strides;  // of all dimensions but the first, in values: multiples of 8
  std::array<int, 4> tile;         // sizes of its part but for the first dimension's

  int tile_rows() const { return tile[0] * tile[1] * tile[2] * tile[3]; }
};

/// A matrix [rows, columns] of bf16, copied by tiles of `tile_rows` rows.
inline TiledTensor tiled_matrix(const void* matrix, int64_t rows, int64_t columns, int64_t row_stride,
                                int tile_rows) {
  const int64_t all = rows * row_stride;
  return {.values = static_cast<const bf16*>(matrix),
          .sizes = {columns, rows, 1, 1, 1},
          .strides = {row_stride, all, all, all},
          .tile = {tile_rows, 1, 1, 1}};
}

namespace cuda {

/// As the driver encodes it (CUtensorMap).
struct alignas(64) TensorMap {
  uint64_t words[16];
};
/// Throws std::runtime_error when the driver refuses.
TensorMap tensor_map(const TiledTensor& tensor);

}  // namespace cuda

namespace simt {

struct TensorMap {
  TiledTensor tensor;
};
inline TensorMap tensor_map(const TiledTensor& tensor) {
  return {tensor};
}

}  // namespace simt
}  // namespace scrawl
