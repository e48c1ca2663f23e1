#pragma once
// Products of bf16 whose rows of results a warpgroup holds whole, so that it may go on with them: c[m, n] =
// a[m, k] · b[k, n] with n of 64 or 128; or panels of so many columns, where those do not matter to each
// other.  A block's warpgroups take 64 rows each, and share b.  64 terms of both factors are a stage, brought
// by the unit for copies of tiles; beyond a matrix they are zeros.
// Cost: a is read once for each panel, b once for each block, but for the first reading of each from the
// second-level cache.  Blocks have one warpgroup where rows are few, two where b would be read too often.
// Limits: multiples of 64 columns.
#include "kernels/cuda/device/elementwise.cuh"
#include "kernels/cuda/device/stages.cuh"
#include "kernels/cuda/device/wgmma.cuh"
#include "kernels/matmul.h"

namespace scrawl::SCRAWL_GPU {

inline constexpr int kProductRows = 64;  // of a warpgroup
inline constexpr int kTerms = 64;        // of a stage

struct RowProduct {
  TensorMap a, b;
  int terms;
};

/// Columns of a panel.
inline int panel_of(const MatMul& args) {
  return args.n % (2 * kTileColumns) == 0 ? 2 * kTileColumns : kTileColumns;
}

/// b along mn is stored [k, n], along k it is [n, k].
template <Major of_b>
RowProduct row_product(const MatMul& args) {
  const int columns = panel_of(args);
  return {.a = tensor_map(tiled_matrix(args.a, args.m, args.k, args.lda, kProductRows)),
          .b = tensor_map(of_b == Major::k ? tiled_matrix(args.b, args.n, args.k, args.ldb, columns)
                                           : tiled_matrix(args.b, args.k, args.n, args.ldb, kTerms)),
          .terms = static_cast<int>(args.k)};
}

/// Whether a product's rows can be computed so, as far as that is not up to who goes on with them.
inline bool fits_row_product(const MatMul& args) {
  constexpr int64_t kMostValues = int64_t{1} << 31;  // that int can count
  return args.dtype == DType::bf16 && args.c_dtype == DType::bf16 && !args.transpose_a && !args.a_sum &&
         args.n > 0 && args.n % kTileColumns == 0 && args.ldc == args.n && args.m > 0 && args.k > 0 &&
         args.m * args.n < kMostValues && args.lda % 8 == 0 && args.ldb % 8 == 0 &&
         packable(8, {args.a, args.b, args.bias, args.addend, args.gate, args.c}) == 8;
}

/// A block's shared memory.
template <int groups, int columns>
struct alignas(1024) RowProductShared {
  static constexpr int kStages = groups == 1 ? 4 : 3;
  struct {
    bf16 a[groups][kProductRows * kTileColumns];
    bf16 b[columns * kTerms];
  } stages[kStages];
  CopyBarrier arrived[kStages];
};

/// Blocks that shared memory lets a multiprocessor have, and registers shall.
template <int columns>
inline constexpr int kRowBlocksAtOnce = columns == kTileColumns ? 3 : 2;

template <int groups, int columns>
LaunchShape row_blocks(std::string_view name, const MatMul& args) {
  return {.name = name,
          .grid = {args.n / columns * ceil_div(args.m, groups * kProductRows)},
          .block = {groups * kWarpgroupThreads},
          .shared_bytes = sizeof(RowProductShared<groups, columns>)};
}

/// Calls body<groups, columns>() for the blocks that fit a product.  Results do not depend on it.
template <typename Body>
void with_row_blocks(const MatMul& args, const Queue& queue, Body body) {
  const int panel = panel_of(args);
  const bool many = args.n / panel * args.m >= int64_t{2} * kProductRows * queue.multiprocessors();
  if (panel == kTileColumns)
    many ? body.template operator()<2, 64>() : body.template operator()<1, 64>();
  else
    many ? body.template operator()<2, 128>() : body.template operator()<1, 128>();
}

/// A warpgroup's results, by tiles of 64 columns.
template <int columns>
using ProductRows = FragmentD[columns / kTileColumns][8];

/// Adds a warpgroup's products of one stage to its results, or begins with them, and closes them into a
/// group.
template <Major of_b, int columns>
__device__ __forceinline__ void multiply_stage(ProductRows<columns>& results, const bf16* a, const bf16* b,
                                               bool accumulate) {
  const TileOperand rows = tile_operand(a);
  const TileOperand all = of_b == Major::k ? tile_operand(b) : tile_operand(b, kTerms * kTileColumns);
#pragma unroll
  for (auto& tile : results) fence_products(tile);
#pragma unroll
  for (int k = 0; k < kTerms; k += 16) {
    const TileOperand terms = of_b == Major::k ? all.from(0, k) : all.from(k, 0);
    if constexpr (columns == kTileColumns)
      start_product<Major::k, of_b>(results[0], rows.from(0, k), terms, accumulate || k > 0);
    else
      start_product<Major::k, of_b>(results, rows.from(0, k), terms, accumulate || k > 0);
  }
  commit_products();
}

/// Results (+)= the product's rows from `first` on, 64 for each warpgroup, and its columns from
/// `first_column` on.  Before it waits, it calls `meanwhile`.  All threads of the block call it.
template <Major of_b, int groups, int columns, typename Meanwhile>
__device__ __forceinline__ void compute_rows(ProductRows<columns>& results, const RowProduct& product,
                                             int first, int first_column, bool accumulate,
                                             Meanwhile meanwhile) {
  using Shared = RowProductShared<groups, columns>;
  auto& memory = *dynamic_shared<Shared>();
  const auto start = [&](int step) {
    auto& stage = memory.stages[step % Shared::kStages];
    CopyBarrier& arrived = memory.arrived[step % Shared::kStages];
    const int term = step * kTerms;
    expect_bytes(arrived, sizeof stage);
#pragma unroll
    for (int i = 0; i < groups; ++i)
      copy_tile_bulk(stage.a[i], product.a, {{term, first + i * kProductRows, 0, 0, 0}}, arrived);
    if constexpr (of_b == Major::k)
      copy_tile_bulk(stage.b, product.b, {{term, first_column, 0, 0, 0}}, arrived);
    else
#pragma unroll
      for (int column = 0; column < columns; column += kTileColumns)
        copy_tile_bulk(stage.b + column * kTerms, product.b, {{first_column + column, term, 0, 0, 0}},
                       arrived);
  };
  const int steps = (product.terms + kTerms - 1) / kTerms;
  begin_stages<Shared::kStages>(memory.arrived, steps, start);
  meanwhile();
#pragma unroll
  for (auto& tile : results) pin(tile);  // else the compiler takes values from bf16 for integers, and waits
  __syncthreads();
#pragma unroll 1
  for (int step = 0; step < steps; ++step) {
    const auto& stage = memory.stages[step % Shared::kStages];
    wait_for_phase(memory.arrived[step % Shared::kStages], step / Shared::kStages);
    multiply_stage<of_b, columns>(results, stage.a[warp_index() / 4], stage.b, accumulate || step > 0);
    // At once, which costs little beside the copies: results that may begin with values would not let
    // products of two stages overlap anyway.
#pragma unroll
    for (auto& tile : results) wait_products<0>(tile);
    __syncthreads();
    if (const int next = step + Shared::kStages; threadIdx.x == 0 && next < steps) start(next);
  }
}

}  // namespace scrawl::SCRAWL_GPU
