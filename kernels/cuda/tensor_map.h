#pragma once
// What a GPU's unit for copies of tiles knows of a matrix; see device/bulk_copy.cuh.
#include <cstdint>

#include "kernels/bf16.h"

namespace scrawl {

/// Tiles are 64 columns wide, 128 bytes.
inline constexpr int kTensorMapColumns = 64;

namespace cuda {

/// As the driver encodes it (CUtensorMap).
struct alignas(64) TensorMap {
  uint64_t words[16];
};

/// Of a matrix [rows, columns] whose rows lie `ld` values apart, for tiles of `tile_rows`.  Rows begin at
/// multiples of 16 bytes.  Throws std::runtime_error when the driver refuses.
TensorMap tensor_map(const bf16* matrix, int64_t rows, int64_t columns, int64_t ld, int tile_rows);

}  // namespace cuda

namespace simt {

struct alignas(64) TensorMap {
  const bf16* matrix;
  int64_t rows, columns, ld;
  int tile_rows;
};

inline TensorMap tensor_map(const bf16* matrix, int64_t rows, int64_t columns, int64_t ld, int tile_rows) {
  return {matrix, rows, columns, ld, tile_rows};
}

}  // namespace simt
}  // namespace scrawl
