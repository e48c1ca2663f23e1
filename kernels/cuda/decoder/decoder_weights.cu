// The decoder's products between weights: all of a direction in one launch, since each alone is too small to
// fill a GPU and shorter than the launch of the next.  The blocks of a launch share out the tiles of all
// products, those with the longest sums first, and behind them the products of biases.
//   Forward: tiles of G_i = F_i W_i; a warp for each value of Σ_i F_i b_i, which is a row of the fuse weight
//   times all biases.
//   Backward: tiles of dF_i = dG_i W_iᵀ (+ db b_iᵀ, at the end) and of dW_i = F_iᵀ dG_i; and db_i = F_iᵀ db,
//   32 values to a block.
// Everything is fp32 and multiplied as such; matrices that are no whole aligned packs are copied value by
// value.
// Cost: bound by arithmetic.  MiT-B1 (D = 256) has 128 tiles forward and 256 backward; a multiprocessor holds
// two blocks.
#include "kernels/decoder_weights.h"

#include <algorithm>

#include "kernels/cuda/decoder/tile.cuh"
#include "kernels/cuda/device/elementwise.cuh"
#include "kernels/cuda/device/storage.cuh"
#include "kernels/cuda/device/warp.cuh"

namespace scrawl::SCRAWL_GPU {

namespace {

constexpr int kLevels = DecoderWeights::kLevels;
constexpr int kWarps = kTileThreads / kWarpSize;

/// c[rows of a, rows of b] (+)= a bᵀ (+ column rowᵀ).
template <typename T>
struct Product {
  TileFactor a, b;
  int terms;
  T* c;
  int64_t ldc;
  bool accumulate, packed;
  const float *column, *row;  // or null
  bool by_rows;               // how both factors of backward lie

  int tiles_across() const { return static_cast<int>(ceil_div(b.rows, kTileColumns)); }
  int tiles() const { return static_cast<int>(ceil_div(a.rows, kTileRows)) * tiles_across(); }
};

/// The tiles of some products, one after another.
template <typename T, int most>
struct Products {
  Product<T> list[most];
  int ends[most];  // the last tile of each, and one
  int across[most];
  int count = 0;

  void add(const Product<T>& product) { list[count++] = product; }
  /// Once all were added.
  void order() {
    std::stable_sort(list, list + count, [](const auto& x, const auto& y) { return x.terms > y.terms; });
    for (int i = 0; i < count; ++i) {
      ends[i] = (i > 0 ? ends[i - 1] : 0) + list[i].tiles();
      across[i] = list[i].tiles_across();
    }
  }
  __host__ __device__ int tiles() const { return count > 0 ? ends[count - 1] : 0; }
};

TileFactor factor(const float* data, int64_t ld, int rows, int line) {
  return {data, ld, rows, packable(ld, {data}) % 4 == 0 && line % 4 == 0};
}

/// Writes four neighbouring results.
template <typename T>
__device__ __forceinline__ void write_results(const Product<T>& product, int row, int column,
                                              Floats<4> values) {
  const int columns = product.b.rows;
  if (row >= product.a.rows || column >= columns) return;
  T* const to = product.c + row * product.ldc + column;
  if (product.column) {
    const float scale = product.column[row];
#pragma unroll
    for (int i = 0; i < 4; ++i)
      if (column + i < columns) values[i] += scale * product.row[column + i];
  }
  if (product.packed) {
    if (product.accumulate) {
      const auto old = load<4>(to);
#pragma unroll
      for (int i = 0; i < 4; ++i) values[i] += old[i];
    }
    return store<4>(to, values);
  }
#pragma unroll
  for (int i = 0; i < 4; ++i)
    if (column + i < columns)
      to[i] = as_storage<T>((product.accumulate ? as_float(to[i]) : 0.0f) + values[i]);
}

/// Finds this block's tile and calls body(product, row, column).
template <typename T, int most, typename Body>
__device__ __forceinline__ void with_tile(const Products<T, most>& products, Body body) {
  const int tile = blockIdx.x;
  int mine = 0;
  while (tile >= products.ends[mine]) ++mine;
  const int index = tile - (mine > 0 ? products.ends[mine - 1] : 0);
  body(products.list[mine], index / products.across[mine] * kTileRows,
       index % products.across[mine] * kTileColumns);
}

// --- forward ----------------------------------------------------------------------------------------------

struct FusedBias {
  const float* fuse;
  const float* biases[kLevels];
  float* sum;
  int width;

  /// By one warp.
  __device__ void compute(int row) const {
    float total = 0.0f;
#pragma unroll
    for (int level = 0; level < kLevels; ++level) {
      const float* block = fuse + (int64_t{row} * kLevels + kLevels - 1 - level) * width;
#pragma unroll 8
      for (int i = lane_index(); i < width; i += kWarpSize) total += block[i] * biases[level][i];
    }
    total = warp_sum(total);
    if (lane_index() == 0) sum[row] = total;
  }
};

template <typename T>
__global__ void __launch_bounds__(kTileThreads, 2)
    premultiply(Products<T, kLevels> products, FusedBias bias) {
  if (static_cast<int>(blockIdx.x) >= products.tiles()) {
    const int row = (blockIdx.x - products.tiles()) * kWarps + warp_index();
    if (row < bias.width) bias.compute(row);
    return;
  }
  with_tile(products, [](const Product<T>& product, int row, int column) {
    multiply_tile<true, false>(
        product.a, product.b, product.terms, row, column,
        [&](int r, int c, const Floats<4>& values) { write_results(product, row + r, column + c, values); });
  });
}

// --- backward ---------------------------------------------------------------------------------------------

struct BiasGradients {
  const float *fuse, *db;
  DecoderWeightsBackward::Target targets[kLevels];
  int width;

  int strips() const { return static_cast<int>(ceil_div(width, kWarpSize)); }  // of a level
};

/// By one block: warps share out the rows, lanes take a column each of a strip.
__device__ void compute(const BiasGradients& args, int level, int strip) {
  auto& sums = shared<float[kWarps][kWarpSize], struct ColumnSums>();
  const int column = strip * kWarpSize + lane_index();
  const bool exists = column < args.width;
  const float* block = args.fuse + (kLevels - 1 - level) * args.width + column;
  float sum = 0.0f;
#pragma unroll 8
  for (int row = warp_index(); row < args.width; row += kWarps)
    if (exists) sum += block[int64_t{row} * kLevels * args.width] * args.db[row];
  sums[warp_index()][lane_index()] = sum;
  __syncthreads();
  float* to = nullptr;
  bool accumulate = false;
#pragma unroll
  for (int i = 0; i < kLevels; ++i)  // constant indices: arguments then stay where they are
    if (i == level) {
      to = args.targets[i].data;
      accumulate = args.targets[i].accumulate;
    }
  if (warp_index() > 0 || !exists || !to) return;
  float total = accumulate ? to[column] : 0.0f;
#pragma unroll
  for (int warp = 0; warp < kWarps; ++warp) total += sums[warp][lane_index()];
  to[column] = total;
}

__global__ void __launch_bounds__(kTileThreads, 2)
    backward(Products<float, 2 * kLevels> products, BiasGradients biases) {
  if (const int index = static_cast<int>(blockIdx.x) - products.tiles(); index >= 0)
    return compute(biases, index % kLevels, index / kLevels);
  with_tile(products, [](const Product<float>& product, int row, int column) {
    const auto write = [&](int r, int c, const Floats<4>& values) {
      write_results(product, row + r, column + c, values);
    };
    if (product.by_rows)
      multiply_tile<true, true>(product.a, product.b, product.terms, row, column, write);
    else
      multiply_tile<false, false>(product.a, product.b, product.terms, row, column, write);
  });
}

/// dF_i = dG_i W_iᵀ + db b_iᵀ.
Product<float> fuse_gradient(const DecoderWeightsBackward& args, int level) {
  const DecoderWeights& p = args.parameters;
  const int channels = p.channels[level];
  float* const c = args.dfuse.data + p.fuse_column(level);
  return {.a = factor(args.dg[level], channels, p.width, channels),
          .b = factor(p.weights[level], channels, p.width, channels),
          .terms = channels,
          .c = c,
          .ldc = p.fuse_stride(),
          .accumulate = args.dfuse.accumulate,
          .packed = packable(p.width, {c}) % 4 == 0,
          .column = args.db,
          .row = p.biases[level],
          .by_rows = true};
}

/// dW_i = F_iᵀ dG_i.
Product<float> weight_gradient(const DecoderWeightsBackward& args, int level) {
  const DecoderWeights& p = args.parameters;
  const int channels = p.channels[level];
  const auto& to = args.dweights[level];
  return {.a = factor(p.fuse + p.fuse_column(level), p.fuse_stride(), p.width, p.width),
          .b = factor(args.dg[level], channels, channels, channels),
          .terms = p.width,
          .c = to.data,
          .ldc = channels,
          .accumulate = to.accumulate,
          .packed = packable(channels, {to.data}) % 4 == 0};
}

}  // namespace

void run(const DecoderPremultiply& args, Queue& queue) {
  const DecoderWeights& p = args.parameters;
  FusedBias bias{.fuse = p.fuse, .sum = args.bias, .width = p.width};
  std::copy(p.biases.begin(), p.biases.end(), bias.biases);
  with_storage(args.dtype, args.name, [&]<typename T>(Storage<T>) {
    Products<T, kLevels> products{};
    for (int level = 0; level < kLevels; ++level) {
      const int channels = p.channels[level];
      products.add({.a = factor(p.fuse + p.fuse_column(level), p.fuse_stride(), p.width, p.width),
                    .b = factor(p.weights[level], channels, channels, channels),
                    .terms = p.width,
                    .c = static_cast<T*>(args.g[level]),
                    .ldc = channels,
                    .packed = packable(channels, {args.g[level]}) % 4 == 0});
    }
    products.order();
    launch(queue,
           {.name = args.name,
            .grid = {products.tiles() + ceil_div(p.width, kWarps)},
            .block = {kTileThreads},
            .shared_bytes = kTileBytes},
           premultiply<T>, products, bias);
  });
}

void run(const DecoderWeightsBackward& args, Queue& queue) {
  const DecoderWeights& p = args.parameters;
  BiasGradients biases{.fuse = p.fuse, .db = args.db, .width = p.width};
  std::copy(args.dbiases.begin(), args.dbiases.end(), biases.targets);
  Products<float, 2 * kLevels> products{};
  bool any_bias = false;
  for (int level = 0; level < kLevels; ++level) {
    if (args.dfuse.data) products.add(fuse_gradient(args, level));
    if (args.dweights[level].data) products.add(weight_gradient(args, level));
    any_bias |= args.dbiases[level].data != nullptr;
  }
  products.order();
  launch(queue,
         LaunchShape{.name = args.name,
                     .grid = {products.tiles() + (any_bias ? kLevels * biases.strips() : 0)},
                     .block = {kTileThreads},
                     .shared_bytes = kTileBytes},
         backward, products, biases);
}

}  // namespace scrawl::SCRAWL_GPU
