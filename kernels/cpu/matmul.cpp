// Matrix products: tiles of C, each one call of oneDNN on one thread, so that a step's many middling products
// share the cores without a barrier inside; what follows a product is done while its tile is in the cache.
// A small C with a long sum (weight gradients) is cut along the sum instead; partial products are added in
// order.  Cost: close to oneDNN's own threading.  Limits: tiles repack what they share, so C below about
// 64 × 64 per core is slower.
#include "kernels/matmul.h"

#include <utility>
#include <vector>

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

/// Sums of a factor's terms, which come along.
struct TermSums {
  float* target = nullptr;  // or null
  int64_t count = 0;
  bool of_a = true;  // else of b's, which is not transposed then
  bool accumulate = false;
};

/// A product in tiles, with what it needs of scratch.
class Product {
 public:
  Product(const MatMul& args, const TermSums& sums)
      : args_(args), sums_(sums), tiling_(tiling_of(args.m, args.n, args.k)) {}

  int64_t space() const { return turned_space() + product_space() + tiling_.depth_parts * sums_.count; }

  void run(float* scratch, Queue& queue) const {
    float* const turned = scratch;
    float* const products = turned + turned_space();
    float* const sums = products + product_space();
    const Factor a{static_cast<const float*>(args_.a), args_.lda, args_.transpose_a};
    Factor b{static_cast<const float*>(args_.b), args_.ldb, args_.transpose_b};
    if (turns_b()) {
      transpose(queue, b.data, b.ld, args_.n, args_.k, turned);
      b = {turned, args_.n, false};
    }
    parallel_for(queue, tiling_.tasks(), [&](int64_t task) {
      const Tile tile = tile_at(args_, tiling_, task);
      const Factor left = part_of(a, tile.row, tile.depth), right = part_of(b, tile.depth, tile.column);
      multiply(tile, left, right, products);
      if (sums_.target) add_terms(tile, left, right, sums + tile.depth_part * sums_.count);
    });
    if (splits()) reduce_products(args_, products, tiling_.depth_parts, static_cast<float*>(args_.c), queue);
    if (sums_.target)
      reduce_partials(queue, sums, tiling_.depth_parts, sums_.count, sums_.count, sums_.target,
                      sums_.accumulate);
  }

 private:
  bool splits() const { return tiling_.depth_parts > 1; }
  bool turns_b() const { return args_.transpose_b && tiling_.row_parts > 2; }
  int64_t turned_space() const { return turns_b() ? ceil_div(args_.n * args_.k, 16) * 16 : 0; }
  int64_t product_space() const { return splits() ? tiling_.depth_parts * args_.m * args_.n : 0; }

  void multiply(const Tile& tile, const Factor& left, const Factor& right, float* products) const {
    if (splits()) {
      float* const product =
          products + tile.depth_part * args_.m * args_.n + tile.row * args_.n + tile.column;
      return gemm(tile.rows, tile.columns, tile.depths, left, right, 0.0f, product, args_.n);
    }
    float* const target = static_cast<float*>(args_.c) + tile.row * args_.ldc + tile.column;
    gemm(tile.rows, tile.columns, tile.depths, left, right, args_.accumulate ? 1.0f : 0.0f, target,
         args_.ldc);
    for (int64_t row = 0; row < tile.rows; ++row) finish(args_, tile.row + row, tile.column, tile.columns);
  }

  void add_terms(const Tile& tile, const Factor& left, const Factor& right, float* sums) const {
    if (sums_.of_a && tile.column == 0) sum_terms(left, tile.rows, tile.depths, sums + tile.row);
    if (!sums_.of_a && tile.row == 0)
      sum_columns(right.data, right.ld, tile.depths, tile.columns, sums + tile.column);
  }

  MatMul args_;
  TermSums sums_;
  Tiling tiling_;
};

/// A weight gradient, c = aᵀ · b, of more rows than columns is computed as cᵀ = bᵀ · a: with the wider factor
/// on its right oneDNN is faster, by a tenth to a third.
bool is_faster_transposed(const MatMul& args) {
  return args.transpose_a && !args.transpose_b && args.m > args.n && args.n > 0 && !args.bias &&
         !args.has_epilogue();
}

/// c (+)= fromᵀ, from [n,m].
void transpose_onto(const MatMul& args, const float* from, Queue& queue) {
  parallel_chunks(queue, args.m, grain_for(args.n), [&](int64_t begin, int64_t end) {
    float* const c = static_cast<float*>(args.c) + begin * args.ldc;
    if (!args.accumulate) return transpose(from + begin, args.m, args.n, end - begin, c, args.ldc);
    std::vector<float> rows((end - begin) * args.n);
    transpose(from + begin, args.m, args.n, end - begin, rows.data(), args.n);
    for (int64_t row = 0; row < end - begin; ++row)
#pragma omp simd
      for (int64_t j = 0; j < args.n; ++j) c[row * args.ldc + j] += rows[row * args.n + j];
  });
}

void run_transposed(const MatMul& args, Queue& queue) {
  MatMul product = args;
  std::swap(product.m, product.n);
  std::swap(product.a, product.b);
  std::swap(product.lda, product.ldb);
  product.ldc = args.m;
  product.accumulate = false;
  const TermSums sums{args.a_sum, args.a_sum ? args.m : 0, /*of_a=*/false, args.accumulate};
  const int64_t values = ceil_div(args.m * args.n, 16) * 16;
  float* const transposed = queue.scratch(values + Product(product, sums).space());
  product.c = transposed;
  Product(product, sums).run(transposed + values, queue);
  transpose_onto(args, transposed, queue);
}

}  // namespace

void run(const MatMul& args, Queue& queue) {
  require_f32(args.dtype, args.name);
  require_f32(args.c_dtype, args.name);
  check_epilogue(args);
  if (args.m == 0) return;
  if (is_faster_transposed(args)) return run_transposed(args, queue);
  const Product product(args, {args.a_sum, args.a_sum ? args.m : 0, /*of_a=*/true, args.accumulate});
  product.run(queue.scratch(product.space()), queue);
}

void run(const MatMulGroup& args, Queue& queue) {
  for (const MatMul& product : args.products) run(product, queue);
}

}  // namespace scrawl::cpu
