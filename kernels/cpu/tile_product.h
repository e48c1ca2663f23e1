#pragma once
// Products of small matrices that are in the cache already, where packing, which general products begin with,
// would cost a share of its own: a block of results stays in registers while the terms are walked once.
#include <algorithm>
#include <cstdint>

#include "kernels/cpu/vector.h"

namespace scrawl::cpu {

/// A left-hand factor, whose elements are read one at a time: (i, j) lies at data[i·row + j·column].
struct Elements {
  const float* data = nullptr;
  int64_t row = 0, column = 0;
};

namespace tile_product_detail {

constexpr int kBlockRows = 6;
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int kBlockVectors = 4;  // of 32 registers, 24 hold results
#else
constexpr int kBlockVectors = 2;  // of 16 registers, 12
#endif

/// Inlined: else its arguments go by way of memory, and wait there for all results that are being stored.
template <int kRows, int kVectors>
[[gnu::always_inline]] inline void block(int64_t k, Elements a, const float* b, int64_t ldb, float* c,
                                         int64_t ldc, int last_lanes, float scale, bool accumulate) {
  Vector sum[kRows][kVectors] = {};
  for (int64_t j = 0; j < k; ++j) {
    Vector right[kVectors];
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) right[v] = load(b + j * ldb + v * kLanes);
#pragma GCC unroll 8
    for (int i = 0; i < kRows; ++i) {
      const float left = a.data[i * a.row + j * a.column];
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) sum[i][v] += left * right[v];
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      float* const out = c + i * ldc + v * kLanes;
      const int lanes = v + 1 < kVectors ? kLanes : last_lanes;
      const Vector value = scale * sum[i][v];
      if (lanes == kLanes) {
        store(accumulate ? load(out) + value : value, out);
      } else {
        store(accumulate ? load(out, lanes) + value : value, out, lanes);
      }
    }
}

template <int kVectors, int kRows = kBlockRows>
void rows_of_blocks(int64_t m, int64_t k, Elements a, const float* b, int64_t ldb, float* c, int64_t ldc,
                    int last_lanes, float scale, bool accumulate) {
  for (; m >= kRows; m -= kRows, a.data += kRows * a.row, c += kRows * ldc)
    block<kRows, kVectors>(k, a, b, ldb, c, ldc, last_lanes, scale, accumulate);
  if constexpr (kRows > 1)
    if (m > 0) rows_of_blocks<kVectors, kRows / 2>(m, k, a, b, ldb, c, ldc, last_lanes, scale, accumulate);
}

}  // namespace tile_product_detail

/// c[m,n] (+)= scale · a[m,k] · b[k,n], with rows of b that can be read up to the next multiple of kLanes.
inline void tile_product(int64_t m, int64_t n, int64_t k, Elements a, const float* b, int64_t ldb, float* c,
                         int64_t ldc, float scale = 1.0f, bool accumulate = false) {
  using namespace tile_product_detail;
  for (int64_t column = 0; column < n;) {
    // Blocks of even width: seven vectors are 4 + 3, five 3 + 2.
    const int64_t left = (n - column + kLanes - 1) / kLanes;
    const int64_t blocks = (left + kBlockVectors - 1) / kBlockVectors;
    const int64_t vectors = (left + blocks - 1) / blocks;
    const int last_lanes = static_cast<int>(std::min<int64_t>(kLanes, n - column - (vectors - 1) * kLanes));
    const auto walk = vectors == 4   ? rows_of_blocks<4>
                      : vectors == 3 ? rows_of_blocks<3>
                      : vectors == 2 ? rows_of_blocks<2>
                                     : rows_of_blocks<1>;
    walk(m, k, a, b + column, ldb, c + column, ldc, last_lanes, scale, accumulate);
    column += vectors * kLanes;
  }
}

}  // namespace scrawl::cpu
