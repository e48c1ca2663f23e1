// Products c = aᵀ · b of bf16 with many terms and few results, as weight gradients are: [64, 256] from 76,800
// rows.  The terms are cut into parts, enough to fill a large GPU; each block computes one tile of c for one
// part on tensor cores, while the next rows of a and b are on their way to shared memory, and leaves it in
// scratch; a second launch adds the parts in order.  A block has eight warps, so that one has something to do
// while another waits; where its tile is small they form two groups, each with half the terms of a stage,
// whose sums are added at the end.  The sum of a's terms comes from the same fragments, multiplied by ones.
// Cost: one read of a and b from memory (each tile of c reads its columns again, from the second-level cache)
// and two passes over parts · m · n floats there.
// Limits: few results and many terms, and the sum or rows that are no packs (see is_deep); columns of a and b
// are read by packs of 8, but for a factor a with odd rows (as many as there are classes): dense ones of up
// to 32 values are copied as they lie, others value by value.
#include "kernels/cuda/device/async_copy.cuh"
#include "kernels/cuda/device/elementwise.cuh"
#include "kernels/cuda/device/fragments.cuh"
#include "kernels/cuda/device/math.cuh"
#include "kernels/cuda/matmul/dense_rows.cuh"
#include "kernels/cuda/matmul/parts.h"
#include "kernels/cuda/matmul/product_parts.cuh"

namespace scrawl::SCRAWL_GPU {

namespace {

constexpr int kTerms = 32;  // of a stage, for each group of warps
constexpr int kStages = 3;

/// How a block's warps share a tile of c: down × across warps of `rows` × `columns` results, and that
/// `groups` times, each for its terms of a stage.
template <int rows, int columns, int down, int across, int groups_>
struct Tile {
  static constexpr int kWarpRows = rows, kWarpColumns = columns, kAcross = across, kGroups = groups_;
  static constexpr int kRows = rows * down, kColumns = columns * across;
  static constexpr int kGroupWarps = down * across, kThreads = kGroupWarps * kGroups * kWarpSize;
  static constexpr int kStageTerms = kTerms * kGroups;
};
using FlatTile = Tile<32, 32, 1, 4, 2>;   //  32 × 128
using SmallTile = Tile<32, 32, 2, 2, 2>;  //  64 ×  64
using WideTile = Tile<64, 32, 1, 4, 2>;   //  64 × 128
using TallTile = Tile<64, 32, 2, 2, 2>;   // 128 ×  64

/// How rows of a come to shared memory.
enum class RowsOfA { packs, dense, values };

/// A product, cut into tiles and parts.
struct DeepProduct : ProductParts {
  const bf16 *a, *b;
  int64_t lda, ldb, terms, terms_of_part;
  int tiles_down, tiles_across;

  /// `blocks`: how many should share the work.
  DeepProduct(const MatMul& args, int tile_rows, int tile_columns, int64_t blocks)
      : ProductParts(args),
        a(static_cast<const bf16*>(args.a)),
        b(static_cast<const bf16*>(args.b)),
        lda(args.lda),
        ldb(args.ldb),
        terms(args.k),
        tiles_down(static_cast<int>(ceil_div(args.m, tile_rows))),
        tiles_across(static_cast<int>(ceil_div(args.n, tile_columns))) {
    constexpr int64_t kUnit = 2 * kTerms, kLeast = 4 * kUnit;  // fewer are not worth their partial sums
    const int64_t wanted = std::max<int64_t>(1, blocks / (tiles_down * tiles_across));
    terms_of_part = std::max(kLeast, ceil_div(ceil_div(terms, wanted), kUnit) * kUnit);
    parts = static_cast<int>(std::max<int64_t>(1, ceil_div(terms, terms_of_part)));
  }
};

template <typename T>
struct Stage {
  static constexpr int kStrideA = T::kRows + kRowPadding, kStrideB = T::kColumns + kRowPadding;
  alignas(16) bf16 a[T::kStageTerms * kStrideA];
  alignas(16) bf16 b[T::kStageTerms * kStrideB];
};

/// Starts copies of `columns` columns from `column` on, of `terms` rows from `first` on, below `end`.
template <int columns, int terms, int threads>
__device__ __forceinline__ void start_packs(bf16* target, const bf16* source, int64_t ld, int64_t first,
                                            int64_t end, int column, int limit) {
  constexpr int kPacks = columns / 8;
#pragma unroll
  for (int i = 0; i < terms * kPacks / threads; ++i) {
    const int index = i * threads + threadIdx.x, row = index / kPacks, at = index % kPacks * 8;
    const bool exists = first + row < end && column + at < limit;
    copy_async<16>(target + row * (columns + kRowPadding) + at,
                   exists ? source + (first + row) * ld + column + at : source, exists);
  }
}

template <int columns, int terms, int threads>
__device__ void copy_values(bf16* target, const bf16* source, int64_t ld, int64_t first, int64_t end,
                            int column, int limit) {
  for (int index = threadIdx.x; index < terms * columns; index += threads) {
    const int row = index / columns, at = index % columns;
    const bool exists = first + row < end && column + at < limit;
    target[row * (columns + kRowPadding) + at] =
        exists ? source[(first + row) * ld + column + at] : as_storage<bf16>(0.0f);
  }
}

/// Results of one warp, and what its rows of a add up to.
template <typename T, RowsOfA rows_of_a>
struct WarpTile {
  static constexpr int kTilesDown = T::kWarpRows / 16, kTilesAcross = T::kWarpColumns / 8;
  FragmentD c[kTilesDown][kTilesAcross], sums[kTilesDown];

  __device__ __forceinline__ FragmentA factor(const Stage<T>& stage, int term, int row, int row_size) const {
    if constexpr (rows_of_a == RowsOfA::dense)
      return dense_a_transposed(stage.a, row_size, term, row);
    else
      return load_a_transposed(stage.a + term * Stage<T>::kStrideA + row, Stage<T>::kStrideA);
  }

  /// Adds kTerms terms from `first` on.
  __device__ __forceinline__ void add(const Stage<T>& stage, int first, int row, int column, int row_size,
                                      bool sum) {
    constexpr uint32_t kOnes = 0x3F803F80;
#pragma unroll
    for (int k = 0; k < kTerms; k += 16) {
      FragmentPairB b[kTilesAcross / 2];
#pragma unroll
      for (int j = 0; j < kTilesAcross / 2; ++j)
        b[j] = load_pair(stage.b + (first + k) * Stage<T>::kStrideB + column + 16 * j, Stage<T>::kStrideB);
#pragma unroll
      for (int i = 0; i < kTilesDown; ++i) {
        const FragmentA a = factor(stage, first + k, row + 16 * i, row_size);
#pragma unroll
        for (int j = 0; j < kTilesAcross; ++j) mma(c[i][j], a, b[j / 2].b[j % 2]);
        if (sum) mma(sums[i], a, FragmentB{{kOnes, kOnes}});
      }
    }
  }

  /// Calls body(fragment, its number) for all.
  template <typename Body>
  __device__ __forceinline__ void for_each(Body body) {
#pragma unroll
    for (int i = 0; i < kTilesDown; ++i) {
#pragma unroll
      for (int j = 0; j < kTilesAcross; ++j) body(c[i][j], i * (kTilesAcross + 1) + j);
      body(sums[i], i * (kTilesAcross + 1) + kTilesAcross);
    }
  }

  /// `row` and `column`: of the product, where the warp's results begin.
  __device__ void store(float* part, const DeepProduct& product, int row, int column, bool sum) const {
#pragma unroll
    for (int i = 0; i < kTilesDown; ++i) {
      product.store(part, c[i], row + 16 * i, column);
      if (sum) product.store_sums(part, sums[i], row + 16 * i);
    }
  }
};

/// Results of a block's second group of warps, on their way to the first.
template <typename T>
struct Exchange {
  static constexpr int kFragments = T::kWarpRows / 16 * (T::kWarpColumns / 8 + 1);
  Pack<float, 4> fragments[kFragments][T::kGroupWarps * kWarpSize];
};

template <typename T, RowsOfA rows_of_a>
__global__ void __launch_bounds__(T::kThreads, 2) multiply_part(DeepProduct product, float* partials) {
  auto* const stages = dynamic_shared<Stage<T>>();
  const int tile = blockIdx.x % (product.tiles_down * product.tiles_across);
  const int part = blockIdx.x / (product.tiles_down * product.tiles_across);
  const int row = tile / product.tiles_across * T::kRows;
  const int column = tile % product.tiles_across * T::kColumns;
  const int64_t begin = part * product.terms_of_part;
  const int64_t end = min(product.terms, begin + product.terms_of_part);
  const int steps = static_cast<int>((end - begin + T::kStageTerms - 1) / T::kStageTerms);
  const auto start = [&](int step) {
    if (step < steps) {
      Stage<T>& stage = stages[step % kStages];
      const int64_t first = begin + step * T::kStageTerms;
      if constexpr (rows_of_a == RowsOfA::packs)
        start_packs<T::kRows, T::kStageTerms, T::kThreads>(stage.a, product.a, product.lda, first, end, row,
                                                           product.m);
      else if constexpr (rows_of_a == RowsOfA::dense)
        start_dense<T::kStageTerms, T::kThreads>(stage.a, product.a, first, end, product.m);
      else
        copy_values<T::kRows, T::kStageTerms, T::kThreads>(stage.a, product.a, product.lda, first, end, row,
                                                           product.m);
      start_packs<T::kColumns, T::kStageTerms, T::kThreads>(stage.b, product.b, product.ldb, first, end,
                                                            column, product.n);
    }
    commit_copies();
  };

  const int group = warp_index() / T::kGroupWarps, warp = warp_index() % T::kGroupWarps;
  const int warp_row = warp / T::kAcross * T::kWarpRows;
  const int warp_column = warp % T::kAcross * T::kWarpColumns;
  const bool sum = product.sum && column == 0 && warp_column == 0;
  WarpTile<T, rows_of_a> results;
  for (int step = 0; step < kStages - 1; ++step) start(step);
  for (int step = 0; step < steps; ++step) {
    wait_copies<kStages - 2>();
    __syncthreads();  // the stage has arrived, and the one before it has been read
    start(step + kStages - 1);
    results.add(stages[step % kStages], group * kTerms, warp_row, warp_column, product.m, sum);
  }
  wait_copies();

  static_assert(T::kGroups == 2 && sizeof(Exchange<T>) <= kStages * sizeof(Stage<T>));
  auto& exchange = *dynamic_shared<Exchange<T>>();
  const int lane = warp * kWarpSize + lane_index();
  __syncthreads();  // all stages have been read
  if (group == 1)
    results.for_each([&](const FragmentD& fragment, int i) {
      store_pack<4>(
          &exchange.fragments[i][lane][0],
          Pack<float, 4>{{fragment.values[0], fragment.values[1], fragment.values[2], fragment.values[3]}});
    });
  __syncthreads();
  if (group == 1) return;
  results.for_each([&](FragmentD& fragment, int i) {
    const auto other = load_pack<4>(&exchange.fragments[i][lane][0]);
#pragma unroll
    for (int k = 0; k < 4; ++k) fragment.values[k] += other[k];
  });
  results.store(partials + part * product.part_stride(), product, row + warp_row, column + warp_column, sum);
}

bool is_packed_a(const MatMul& args) {
  return packable(args.lda, {args.a}) % 8 == 0 && ceil_div(args.m, 8) * 8 <= args.lda;
}
bool is_dense_a(const MatMul& args) {
  return args.lda == args.m && args.m <= kMostDense && packable(8, {args.a}) % 8 == 0;
}

template <typename T>
void launch_deep(const MatMul& args, Queue& queue) {
  constexpr int64_t kBlocks = 2 * 132;  // two on each multiprocessor of a large GPU
  const DeepProduct product(args, T::kRows, T::kColumns, kBlocks);
  const int64_t stride = product.part_stride();
  const Scratch scratch = queue.scratch(product.parts * stride);
  float* const partials = scratch.data();
  const LaunchShape shape{.name = args.name,
                          .grid = {int64_t{product.parts} * product.tiles_down * product.tiles_across},
                          .block = {T::kThreads},
                          .shared_bytes = kStages * static_cast<int64_t>(sizeof(Stage<T>))};
  const auto launch_with = [&](auto kernel) { launch(queue, shape, kernel, product, partials); };
  if constexpr (std::is_same_v<T, FlatTile>)
    launch_with(is_packed_a(args)  ? multiply_part<T, RowsOfA::packs>
                : is_dense_a(args) ? multiply_part<T, RowsOfA::dense>
                                   : multiply_part<T, RowsOfA::values>);
  else if constexpr (std::is_same_v<T, SmallTile>)
    launch_with(is_packed_a(args) ? multiply_part<T, RowsOfA::packs> : multiply_part<T, RowsOfA::values>);
  else
    launch_with(multiply_part<T, RowsOfA::packs>);

  add_parts(product, partials, args, queue);
}

}  // namespace

bool is_deep(const MatMul& args) {
  // With more results a library's larger tiles and a column sum are as fast or faster, and so are a library's
  // without that sum (measured on an H200).
  if (!args.a_sum && is_packed_a(args)) return false;
  constexpr int64_t kNarrow = 64, kFewestTerms = 2048;
  // A classifier has few rows of a, and odd ones.
  const int64_t wide = args.m <= FlatTile::kRows && !is_packed_a(args) ? 1024 : 256;
  return args.dtype == DType::bf16 && args.c_dtype == DType::f32 && args.transpose_a && !args.transpose_b &&
         !args.bias && !args.has_epilogue() && args.n > 0 && std::min(args.m, args.n) <= kNarrow &&
         std::max(args.m, args.n) <= wide && args.k >= kFewestTerms &&
         packable(args.ldb, {args.b}) % 8 == 0 && ceil_div(args.n, 8) * 8 <= args.ldb;
}

void multiply_deep(const MatMul& args, Queue& queue) {
  // Whole tiles first; then those that read the fewest columns again.
  const auto fits = [&]<typename T>(T) {
    return args.m % T::kRows == 0 && args.n % T::kColumns == 0 && is_packed_a(args);
  };
  if (args.m <= FlatTile::kRows) return launch_deep<FlatTile>(args, queue);
  if (args.m * args.n > SmallTile::kRows * SmallTile::kColumns && fits(WideTile{}))
    return launch_deep<WideTile>(args, queue);
  if (args.m * args.n > SmallTile::kRows * SmallTile::kColumns && fits(TallTile{}))
    return launch_deep<TallTile>(args, queue);
  launch_deep<SmallTile>(args, queue);
}

}  // namespace scrawl::SCRAWL_GPU
