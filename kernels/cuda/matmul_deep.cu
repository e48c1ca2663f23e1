// Products c = aᵀ · b of bf16 with many terms and few results, as weight gradients are: [64, 256] from 76,800
// rows.  The terms are cut into parts, enough to fill a large GPU; each block computes one tile of c for one
// part on tensor cores, while the next rows of a and b are on their way to shared memory, and leaves it in
// scratch; a second launch adds the parts in order.  The sum of a's terms comes from the same fragments,
// multiplied by ones.
// Cost: one read of a and b from memory (each tile of c reads its columns again, from the second-level cache)
// and two passes over parts · m · n floats there.
// Limits: few results and many terms (see is_deep); columns of a and b are read by packs of 8, but for a
// factor a with odd rows (as many as there are classes), which is read value by value.
#include "kernels/cuda/device/async_copy.cuh"
#include "kernels/cuda/device/columns.cuh"
#include "kernels/cuda/device/elementwise.cuh"
#include "kernels/cuda/device/fragments.cuh"
#include "kernels/cuda/matmul_parts.h"

namespace scrawl::SCRAWL_GPU {

namespace {

constexpr int kTerms = 32;  // of a stage
constexpr int kStages = 4;
constexpr int kWarpColumns = 32;

/// How a block's warps share a tile of c: down × across warps of `rows` × 32 results.
template <int rows, int down, int across>
struct Tile {
  static constexpr int kWarpRows = rows, kAcross = across;
  static constexpr int kRows = rows * down, kColumns = kWarpColumns * across;
  static constexpr int kThreads = down * across * kWarpSize;
};
using SmallTile = Tile<32, 2, 2>;
using FlatTile = Tile<32, 1, 4>;

/// A product, cut into tiles and parts.
struct DeepProduct {
  const bf16 *a, *b;
  int64_t lda, ldb, terms, terms_of_part;
  int m, n, tiles_down, tiles_across, parts;
  int row_stride;  // of a part's c
  bool sum;        // of a's terms, behind a part's c

  /// `blocks`: how many should share the work.
  DeepProduct(const MatMul& args, int tile_rows, int tile_columns, int64_t blocks)
      : a(static_cast<const bf16*>(args.a)),
        b(static_cast<const bf16*>(args.b)),
        lda(args.lda),
        ldb(args.ldb),
        terms(args.k),
        m(static_cast<int>(args.m)),
        n(static_cast<int>(args.n)),
        tiles_down(static_cast<int>(ceil_div(args.m, tile_rows))),
        tiles_across(static_cast<int>(ceil_div(args.n, tile_columns))),
        row_stride(static_cast<int>(ceil_div(args.n, 8) * 8)),
        sum(args.a_sum != nullptr) {
    constexpr int64_t kLeast = 4 * kTerms;  // of a part: fewer are not worth their partial sums
    const int64_t wanted = std::max<int64_t>(1, blocks / (tiles_down * tiles_across));
    terms_of_part = std::max(kLeast, ceil_div(ceil_div(terms, wanted), kTerms) * kTerms);
    parts = static_cast<int>(std::max<int64_t>(1, ceil_div(terms, terms_of_part)));
  }
  __host__ __device__ int64_t part_stride() const {
    return (int64_t{m} * row_stride + (sum ? m : 0) + 3) / 4 * 4;
  }
};

template <typename T>
struct Stage {
  static constexpr int kStrideA = T::kRows + kRowPadding, kStrideB = T::kColumns + kRowPadding;
  alignas(16) bf16 a[kTerms * kStrideA];
  alignas(16) bf16 b[kTerms * kStrideB];
};

/// Starts copies of `columns` columns from `column` on, of rows [first, first + kTerms) below `end`.
template <int columns, int threads>
__device__ __forceinline__ void start_packs(bf16* target, const bf16* source, int64_t ld, int64_t first,
                                            int64_t end, int column, int limit) {
  constexpr int kPacks = columns / 8;
#pragma unroll
  for (int i = 0; i < kTerms * kPacks / threads; ++i) {
    const int index = i * threads + threadIdx.x, row = index / kPacks, at = index % kPacks * 8;
    const bool exists = first + row < end && column + at < limit;
    copy_async<16>(target + row * (columns + kRowPadding) + at,
                   exists ? source + (first + row) * ld + column + at : source, exists);
  }
}

template <int columns, int threads>
__device__ void copy_values(bf16* target, const bf16* source, int64_t ld, int64_t first, int64_t end,
                            int column, int limit) {
  for (int index = threadIdx.x; index < kTerms * columns; index += threads) {
    const int row = index / columns, at = index % columns;
    const bool exists = first + row < end && column + at < limit;
    target[row * (columns + kRowPadding) + at] =
        exists ? source[(first + row) * ld + column + at] : as_storage<bf16>(0.0f);
  }
}

/// Results of one warp, and what its rows of a add up to.
template <typename T>
struct WarpTile {
  static constexpr int kTilesDown = T::kWarpRows / 16;
  FragmentD c[kTilesDown][kWarpColumns / 8], sums[kTilesDown];

  __device__ __forceinline__ void add(const Stage<T>& stage, int row, int column, bool sum) {
    constexpr uint32_t kOnes = 0x3F803F80;
#pragma unroll
    for (int k = 0; k < kTerms; k += 16) {
      FragmentPairB b[kWarpColumns / 16];
#pragma unroll
      for (int j = 0; j < kWarpColumns / 16; ++j)
        b[j] = load_pair(stage.b + k * Stage<T>::kStrideB + column + 16 * j, Stage<T>::kStrideB);
#pragma unroll
      for (int i = 0; i < kTilesDown; ++i) {
        const FragmentA a =
            load_a_transposed(stage.a + k * Stage<T>::kStrideA + row + 16 * i, Stage<T>::kStrideA);
#pragma unroll
        for (int j = 0; j < kWarpColumns / 8; ++j) mma(c[i][j], a, b[j / 2].b[j % 2]);
        if (sum) mma(sums[i], a, FragmentB{{kOnes, kOnes}});
      }
    }
  }

  /// `row` and `column`: of the product, where the warp's results begin.
  __device__ void store(float* part, const DeepProduct& product, int row, int column, bool sum) const {
#pragma unroll
    for (int i = 0; i < kTilesDown; ++i)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int r = row + 16 * i + FragmentD::row(2 * half);
        if (r >= product.m) continue;
#pragma unroll
        for (int j = 0; j < kWarpColumns / 8; ++j)
          if (const int at = column + 8 * j + FragmentD::column(0); at < product.row_stride)
            store_pack<2>(part + int64_t{r} * product.row_stride + at,
                          Pack<float, 2>{{c[i][j].values[2 * half], c[i][j].values[2 * half + 1]}});
        if (sum && FragmentD::column(0) == 0)
          part[int64_t{product.m} * product.row_stride + r] = sums[i].values[2 * half];
      }
  }
};

template <typename T, bool packed_a>
__global__ void __launch_bounds__(T::kThreads) multiply_part(DeepProduct product, float* partials) {
  auto* const stages = dynamic_shared<Stage<T>>();
  const int tile = blockIdx.x % (product.tiles_down * product.tiles_across);
  const int part = blockIdx.x / (product.tiles_down * product.tiles_across);
  const int row = tile / product.tiles_across * T::kRows;
  const int column = tile % product.tiles_across * T::kColumns;
  const int64_t begin = part * product.terms_of_part;
  const int64_t end = min(product.terms, begin + product.terms_of_part);
  const int steps = static_cast<int>((end - begin + kTerms - 1) / kTerms);
  const auto start = [&](int step) {
    if (step < steps) {
      Stage<T>& stage = stages[step % kStages];
      const int64_t first = begin + step * kTerms;
      if constexpr (packed_a)
        start_packs<T::kRows, T::kThreads>(stage.a, product.a, product.lda, first, end, row, product.m);
      else
        copy_values<T::kRows, T::kThreads>(stage.a, product.a, product.lda, first, end, row, product.m);
      start_packs<T::kColumns, T::kThreads>(stage.b, product.b, product.ldb, first, end, column, product.n);
    }
    commit_copies();
  };

  const int warp_row = warp_index() / T::kAcross * T::kWarpRows;
  const int warp_column = warp_index() % T::kAcross * kWarpColumns;
  const bool sum = product.sum && column == 0 && warp_column == 0;
  WarpTile<T> results;
  for (int step = 0; step < kStages - 1; ++step) start(step);
  for (int step = 0; step < steps; ++step) {
    wait_copies<kStages - 2>();
    __syncthreads();  // the stage has arrived, and the one before it has been read
    start(step + kStages - 1);
    results.add(stages[step % kStages], warp_row, warp_column, sum);
  }
  wait_copies();
  results.store(partials + part * product.part_stride(), product, row + warp_row, column + warp_column, sum);
}

/// c and a_sum (+)= the sum of all parts; a thread takes four neighbouring values.
__global__ void __launch_bounds__(kColumnThreads)
    add_parts(DeepProduct product, const float* partials, MatMul args) {
  const int64_t index = (int64_t{blockIdx.x} * blockDim.x + threadIdx.x) * 4;
  const int64_t stride = product.part_stride();
  Floats<4> total{};
  if (index < stride)
#pragma unroll 4
    for (int part = threadIdx.y; part < product.parts; part += blockDim.y) {
      const auto values = load<4>(partials + part * stride + index);
#pragma unroll
      for (int i = 0; i < 4; ++i) total[i] += values[i];
    }
  add_over_groups(total);
  if (threadIdx.y > 0) return;
  const int row = static_cast<int>(index / product.row_stride);
  const int column = static_cast<int>(index % product.row_stride);  // the same row: strides are whole packs
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    float* target = nullptr;
    if (row < product.m && column + i < product.n)
      target = static_cast<float*>(args.c) + row * args.ldc + column + i;
    else if (const int64_t of_sum = index + i - int64_t{product.m} * product.row_stride;
             product.sum && of_sum >= 0 && of_sum < product.m)
      target = args.a_sum + of_sum;
    if (target) *target = (args.accumulate ? *target : 0.0f) + total[i];
  }
}

template <typename T>
void launch_deep(const MatMul& args, int64_t blocks, Queue& queue) {
  const DeepProduct product(args, T::kRows, T::kColumns, blocks);
  const int64_t stride = product.part_stride();
  float* partials = queue.product_scratch(product.parts * stride);
  const LaunchShape shape{.name = args.name,
                          .grid = {int64_t{product.parts} * product.tiles_down * product.tiles_across},
                          .block = {T::kThreads},
                          .shared_bytes = kStages * static_cast<int64_t>(sizeof(Stage<T>))};
  const bool packed_a = packable(args.lda, {args.a}) % 8 == 0 && ceil_div(args.m, 8) * 8 <= args.lda;
  launch(queue, shape, packed_a ? multiply_part<T, true> : multiply_part<T, false>, product, partials);

  // Many parts are shared out among many threads, so that none adds more than a few.
  int groups = 8;
  while (groups < 32 && groups < product.parts) groups *= 2;
  const int lanes = kColumnThreads / groups;
  launch(queue, {.name = args.name, .grid = {ceil_div(stride, 4 * lanes)}, .block = {lanes, groups}},
         add_parts, product, partials, args);
}

}  // namespace

bool is_deep(const MatMul& args) {
  // More results keep a library's larger tiles busy; rows that are no whole packs keep it from using them.
  constexpr int64_t kMostResults = 256 * 64, kFewestTerms = 2048;
  return args.dtype == DType::bf16 && args.c_dtype == DType::f32 && args.transpose_a && !args.transpose_b &&
         !args.bias && args.n > 0 && args.m * args.n <= kMostResults && args.k >= kFewestTerms &&
         packable(args.ldb, {args.b}) % 8 == 0 && ceil_div(args.n, 8) * 8 <= args.ldb;
}

void multiply_deep(const MatMul& args, Queue& queue) {
  constexpr int64_t kMultiprocessors = 132;  // of a large GPU
  if (args.m <= FlatTile::kRows) return launch_deep<FlatTile>(args, 4 * kMultiprocessors, queue);
  launch_deep<SmallTile>(args, 2 * kMultiprocessors, queue);
}

}  // namespace scrawl::SCRAWL_GPU
