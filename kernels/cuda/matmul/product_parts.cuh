#pragma once
// Products whose terms are cut into parts: each part's results go to scratch as floats, with the sums of a's
// terms behind them, and a second launch adds the parts in order.
#include "kernels/cuda/device/fragments.cuh"
#include "kernels/cuda/device/launch.cuh"
#include "kernels/matmul.h"

namespace scrawl::SCRAWL_GPU {

/// Where c [m, n] and the sums [m] of each part lie.
struct ProductParts {
  int m, n, row_stride;  // of a part's c
  bool sum;              // of a's terms
  int parts = 1;

  explicit ProductParts(const MatMul& args)
      : m(static_cast<int>(args.m)),
        n(static_cast<int>(args.n)),
        row_stride(static_cast<int>(ceil_div(args.n, 8) * 8)),
        sum(args.a_sum != nullptr) {}
  __host__ __device__ int64_t part_stride() const {
    return (int64_t{m} * row_stride + (sum ? m : 0) + 3) / 4 * 4;
  }

  /// Neighbouring fragments of a part's c, from this row and column on.
  template <int count>
  __device__ __forceinline__ void store(float* part, const FragmentD (&c)[count], int row, int column) const {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int r = row + FragmentD::row(2 * half);
      if (r >= m) continue;
#pragma unroll
      for (int j = 0; j < count; ++j)
        if (const int at = column + 8 * j + FragmentD::column(0); at < row_stride)
          store_pack<2>(part + int64_t{r} * row_stride + at,
                        Pack<float, 2>{{c[j].values[2 * half], c[j].values[2 * half + 1]}});
    }
  }
  /// The sums that stand in every column of a fragment.
  __device__ __forceinline__ void store_sums(float* part, const FragmentD& sums, int row) const {
    if (FragmentD::column(0) > 0) return;
#pragma unroll
    for (int half = 0; half < 2; ++half)
      if (const int r = row + FragmentD::row(2 * half); r < m)
        part[int64_t{m} * row_stride + r] = sums.values[2 * half];
  }
};

/// c and a_sum (+)= the sum of all parts.
void add_parts(const ProductParts&, const float* partials, const MatMul&, Queue&);

}  // namespace scrawl::SCRAWL_GPU
