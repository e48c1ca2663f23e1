// Matrix products: tiles of C, each one call of oneDNN on one thread, so that a step's many middling products
// share the cores without a barrier inside; what follows a product is done while its tile is in the cache.
// A small C with a long sum (weight gradients) is cut along the sum instead; partial products are added in
// order.  Cost: close to oneDNN's own threading.  Limits: tiles repack what they share, so C below about
// 64 × 64 per core is slower.
#include "kernels/matmul.h"

#include "kernels/cpu/gemm.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/partial_sums.h"
#include "kernels/cpu/transpose.h"
#include "kernels/matmul_group.h"

namespace scrawl::cpu {

namespace {

/// How a product is cut: `rows` × `columns` of C, each in `depth_parts` sums of `depth` terms.
struct Tiling {
  int64_t rows = 0, columns = 0, depth = 0;
  int64_t row_parts = 0, column_parts = 0, depth_parts = 0;
  int64_t tasks() const { return row_parts * column_parts * depth_parts; }
};

constexpr int64_t kTasks = 8;

/// Parts of at most `size`; more than kTasks are a multiple of it, so that 2, 4 or 8 threads share them
/// evenly.
int64_t parts_of(int64_t count, int64_t size) {
  const int64_t parts = ceil_div(count, size);
  return parts > kTasks ? ceil_div(parts, kTasks) * kTasks : parts;
}

Tiling tiling_of(int64_t m, int64_t n, int64_t k) {
  constexpr int64_t kSide = 512, kMinSide = 64, kDepth = 2048, kMinDepth = 256;
  int64_t row_parts = parts_of(m, kSide), column_parts = std::max<int64_t>(1, ceil_div(n, kSide));
  int64_t depth_parts = 1;
  if (k >= 2 * std::max(m, n) && row_parts * column_parts < kTasks) {
    const int64_t wanted = std::max(ceil_div(kTasks, row_parts * column_parts), parts_of(k, kDepth));
    depth_parts = std::clamp<int64_t>(k / kMinDepth, 1, wanted);
  } else {
    while (row_parts * column_parts < kTasks && std::max(m / row_parts, n / column_parts) > kMinSide)
      ++(m / row_parts >= n / column_parts ? row_parts : column_parts);
  }
  Tiling tiling{even_piece(m, row_parts), even_piece(n, column_parts), even_piece(k, depth_parts)};
  tiling.row_parts = ceil_div(m, tiling.rows);
  tiling.column_parts = std::max<int64_t>(1, ceil_div(n, tiling.columns));
  tiling.depth_parts = std::max<int64_t>(1, ceil_div(k, tiling.depth));
  return tiling;
}

/// One task's share: rows [row, row + rows) of C and so on.
struct Tile {
  int64_t row = 0, rows = 0, column = 0, columns = 0, depth = 0, depths = 0;
  int64_t depth_part = 0;
};

Tile tile_at(const MatMul& args, const Tiling& tiling, int64_t task) {
  Tile tile;
  tile.depth_part = task % tiling.depth_parts;
  tile.column = task / tiling.depth_parts % tiling.column_parts * tiling.columns;
  tile.row = task / tiling.depth_parts / tiling.column_parts * tiling.rows;
  tile.depth = tile.depth_part * tiling.depth;
  tile.rows = std::min(tiling.rows, args.m - tile.row);
  tile.columns = std::min(tiling.columns, args.n - tile.column);
  tile.depths = std::min(tiling.depth, args.k - tile.depth);
  return tile;
}

Factor part_of(const Factor& factor, int64_t row, int64_t column) {
  return {factor.data + (factor.transposed ? column * factor.ld + row : row * factor.ld + column), factor.ld,
          factor.transposed};
}

/// sum[row] = Σ over the tile's terms of op(a).
void sum_terms(const Factor& a, int64_t rows, int64_t depth, float* sum) {
  if (a.transposed) return sum_columns(a.data, a.ld, depth, rows, sum);
  for (int64_t row = 0; row < rows; ++row) {
    float total = 0.0f;
#pragma omp simd reduction(+ : total)
    for (int64_t j = 0; j < depth; ++j) total += a.data[row * a.ld + j];
    sum[row] = total;
  }
}

/// What follows a product: bias, addend, ReLU or gate, on `columns` values of a row from `column` on.
void finish(const MatMul& args, int64_t row, int64_t column, int64_t columns) {
  const int64_t begin = row * args.ldc + column;
  float* const c = static_cast<float*>(args.c) + begin;
  if (args.bias) {
    const float* const bias = static_cast<const float*>(args.bias) + column;
#pragma omp simd
    for (int64_t j = 0; j < columns; ++j) c[j] += bias[j];
  }
  if (args.addend) {
    const float* const addend = static_cast<const float*>(args.addend) + begin;
#pragma omp simd
    for (int64_t j = 0; j < columns; ++j) c[j] += addend[j];
  }
  if (args.relu) {
#pragma omp simd
    for (int64_t j = 0; j < columns; ++j) c[j] = c[j] < 0.0f ? 0.0f : c[j];  // not so for NaN, which stays
  }
  if (args.gate) {
    const float* const gate = static_cast<const float*>(args.gate) + begin;
#pragma omp simd
    for (int64_t j = 0; j < columns; ++j) {
      const float value = c[j];  // loaded in any case: a load that hangs on gate would not be vectorised
      c[j] = gate[j] > 0.0f ? value : 0.0f;
    }
  }
}

/// c (+)= Σ partial products, finished; row by row since c may have a stride.
void reduce_products(const MatMul& args, const float* partials, int64_t parts, float* c, Queue& queue) {
  parallel_chunks(queue, args.m, grain_for(parts * args.n), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      add_partials(partials + row * args.n, parts, args.m * args.n, args.n, c + row * args.ldc,
                   args.accumulate);
      finish(args, row, 0, args.n);
    }
  });
}

}  // namespace

void run(const MatMul& args, Queue& queue) {
  require_f32(args.dtype, args.name);
  require_f32(args.c_dtype, args.name);
  check_epilogue(args);
  if (args.m == 0) return;
  const Tiling tiling = tiling_of(args.m, args.n, args.k);
  const bool split = tiling.depth_parts > 1;
  const bool turn = args.transpose_b && tiling.row_parts > 2;
  const int64_t product_space = split ? tiling.depth_parts * args.m * args.n : 0;
  const int64_t turned_space = turn ? ceil_div(args.n * args.k, 16) * 16 : 0;
  float* const turned = queue.scratch(turned_space + product_space + tiling.depth_parts * args.m);
  float* const products = turned + turned_space;
  float* const a_sums = products + product_space;

  const Factor a{static_cast<const float*>(args.a), args.lda, args.transpose_a};
  Factor b{static_cast<const float*>(args.b), args.ldb, args.transpose_b};
  if (turn) {
    transpose(queue, b.data, b.ld, args.n, args.k, turned);
    b = {turned, args.n, false};
  }
  auto* const c = static_cast<float*>(args.c);

  parallel_for(queue, tiling.tasks(), [&](int64_t task) {
    const Tile tile = tile_at(args, tiling, task);
    const Factor left = part_of(a, tile.row, tile.depth);
    const Factor right = part_of(b, tile.depth, tile.column);
    if (split) {
      float* product = products + tile.depth_part * args.m * args.n + tile.row * args.n + tile.column;
      gemm(tile.rows, tile.columns, tile.depths, left, right, 0.0f, product, args.n);
    } else {
      float* target = c + tile.row * args.ldc + tile.column;
      gemm(tile.rows, tile.columns, tile.depths, left, right, args.accumulate ? 1.0f : 0.0f, target,
           args.ldc);
      for (int64_t row = 0; row < tile.rows; ++row) finish(args, tile.row + row, tile.column, tile.columns);
    }
    if (args.a_sum && tile.column == 0)
      sum_terms(left, tile.rows, tile.depths, a_sums + tile.depth_part * args.m + tile.row);
  });

  if (split) reduce_products(args, products, tiling.depth_parts, c, queue);
  if (args.a_sum)
    reduce_partials(queue, a_sums, tiling.depth_parts, args.m, args.m, args.a_sum, args.accumulate);
}

void run(const MatMulGroup& args, Queue& queue) {
  for (const MatMul& product : args.products) run(product, queue);
}

}  // namespace scrawl::cpu
