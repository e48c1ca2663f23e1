// 3×3 convolution by Winograd's minimal filtering F(2×2, 3×3) (Lavin and Gray, Fast Algorithms for
// Convolutional Neural Networks, 2016): a tile of 2 × 2 outputs, which read 4 × 4 inputs d, is
//   Aᵀ [(G w Gᵀ) ⊙ (Bᵀ d B)] A,
// summed over channels ahead of the outer transform.  For each of the 16 points of a transformed tile that
// sum is a matrix product [tiles, channels] · [channels, outputs]; the transforms are additions, and halves
// for the weights.  Backward to the input is the same convolution of dy by the weights turned round; backward
// to the weights is the adjoint, Gᵀ [(A dy Aᵀ) ⊙ (Bᵀ d B)] G, summed over tiles.
//
// Cost: 16 multiplications for 36; transformed maps, four times as large, go through memory.  Limits:
// transforms and products take turns on chunks of tiles, with a barrier between them; rounding errors are
// some two times those of the plain sum.
#include "kernels/cpu/winograd.h"

#include <algorithm>
#include <array>

#include "kernels/column_sum.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/vector.h"

namespace scrawl::cpu {

namespace {

constexpr int kPoints = 16;          // of a transformed tile
constexpr int64_t kMostTiles = 512;  // transformed at a time
// Between points, whose rows would else compete for the same places in the cache.
constexpr int64_t kSkew = 5 * kLanes;

// --- transforms of one line -----------------------------------------------------------------------------

template <size_t kCount>
using Line = std::array<Vector, kCount>;
template <size_t kCount>
using Square = std::array<Line<kCount>, kCount>;

/// Bᵀ d
Line<4> input_line(const Line<4>& d) {
  return {d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3]};
}
/// Aᵀ m
Line<2> output_line(const Line<4>& m) {
  return {m[0] + m[1] + m[2], m[1] - m[2] - m[3]};
}
/// A y
Line<4> output_adjoint_line(const Line<2>& y) {
  return {y[0], y[0] + y[1], y[0] - y[1], -y[1]};
}
/// G w
Line<4> weight_line(const Line<3>& w) {
  const Vector even = 0.5f * (w[0] + w[2]), odd = 0.5f * w[1];
  return {w[0], even + odd, even - odd, w[2]};
}
/// Gᵀ u
Line<3> weight_adjoint_line(const Line<4>& u) {
  const Vector sum = 0.5f * (u[1] + u[2]);
  return {u[0] + sum, 0.5f * (u[1] - u[2]), u[3] + sum};
}

/// A transform of lines along both sides of a square.
template <size_t kTo, size_t kFrom, typename Transform>
Square<kTo> along_both(const Square<kFrom>& in, Transform transform) {
  std::array<Line<kTo>, kFrom> rows;
  for (size_t i = 0; i < kFrom; ++i) rows[i] = transform(in[i]);
  Square<kTo> out;
  for (size_t j = 0; j < kTo; ++j) {
    Line<kFrom> column;
    for (size_t i = 0; i < kFrom; ++i) column[i] = rows[i][j];
    const Line<kTo> transformed = transform(column);
    for (size_t i = 0; i < kTo; ++i) out[i][j] = transformed[i];
  }
  return out;
}

// --- maps, tiles and points -----------------------------------------------------------------------------

/// A map [images, height, width, channels] cut into tiles of 2 × 2, the last ones perhaps over its border.
struct TiledMap {
  const float* data = nullptr;
  int64_t images = 0;
  int height = 0, width = 0, channels = 0;
  int tile_rows() const { return (height + 1) / 2; }
  int tile_columns() const { return (width + 1) / 2; }
  int64_t tiles() const { return images * tile_rows() * tile_columns(); }
};

/// Where a square of pixels lies in a map.
struct Place {
  int64_t image = 0;
  int y = 0, x = 0;
  Place(const TiledMap& map, int64_t tile, int border) {
    x = static_cast<int>(tile % map.tile_columns()) * 2 - border;
    y = static_cast<int>(tile / map.tile_columns() % map.tile_rows()) * 2 - border;
    image = tile / map.tile_columns() / map.tile_rows();
  }
  bool inside(const TiledMap& map, int i, int j) const {
    return y + i >= 0 && y + i < map.height && x + j >= 0 && x + j < map.width;
  }
  int64_t offset(const TiledMap& map, int i, int j) const {
    return ((image * map.height + y + i) * map.width + x + j) * map.channels;
  }
};

/// Zero outside of the map.
template <int kSide>
Square<kSide> load_square(const TiledMap& map, const Place& place, int64_t channel) {
  Square<kSide> square;
  for (int i = 0; i < kSide; ++i)
    for (int j = 0; j < kSide; ++j)
      square[i][j] = place.inside(map, i, j) ? load(map.data + place.offset(map, i, j) + channel) : Vector{};
  return square;
}

/// The 16 points of a transformed map or of weights, each a matrix of `rows` × `columns`.
struct Points {
  float* data = nullptr;
  int64_t rows = 0, columns = 0;
  static int64_t space(int64_t rows, int64_t columns) { return kPoints * (rows * columns + kSkew); }
  float* matrix(int point) const { return data + point * (rows * columns + kSkew); }
  void store_square(const Square<4>& square, int64_t row, int64_t column) const {
    for (int point = 0; point < kPoints; ++point)
      store(square[point / 4][point % 4], matrix(point) + row * columns + column);
  }
  Square<4> square(int64_t row, int64_t column) const {
    Square<4> result;
    for (int point = 0; point < kPoints; ++point)
      result[point / 4][point % 4] = load(matrix(point) + row * columns + column);
    return result;
  }
};

/// Calls body(a tile, its row among the points) for the tiles of a chunk, whose first is `first`.
template <typename Body>
void for_tiles(Queue& queue, int64_t first, int64_t count, Body body) {
  parallel_chunks(queue, count, 8, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) body(first + row, row);
  });
}

/// Squares of kSide pixels with `border` pixels around their tile, transformed.
template <int kSide, typename Transform>
void transform_tiles(Queue& queue, const TiledMap& map, int border, int64_t first, int64_t count,
                     Transform transform, const Points& points) {
  for_tiles(queue, first, count, [&](int64_t tile, int64_t row) {
    const Place place(map, tile, border);
    for (int channel = 0; channel < map.channels; channel += kLanes)
      points.store_square(along_both<4>(load_square<kSide>(map, place, channel), transform), row, channel);
  });
}

/// y (+)= Aᵀ m A (+ bias) for a chunk of tiles; what lies beyond the border is dropped.
void store_tiles(Queue& queue, const Points& points, const float* bias, bool accumulate, int64_t first,
                 int64_t count, const TiledMap& map, float* y) {
  for_tiles(queue, first, count, [&](int64_t tile, int64_t row) {
    const Place place(map, tile, 0);
    for (int channel = 0; channel < map.channels; channel += kLanes) {
      const Square<2> square = along_both<2>(points.square(row, channel), output_line);
      const Vector shift = bias ? load(bias + channel) : Vector{};
      for (int i = 0; i < 2; ++i)
        for (int j = 0; j < 2; ++j) {
          if (!place.inside(map, i, j)) continue;
          float* const out = y + place.offset(map, i, j) + channel;
          const Vector value = square[i][j] + shift;
          store(accumulate ? load(out) + value : value, out);
        }
    }
  });
}

/// G w Gᵀ as [outputs, channels] for every point, from w [outputs, 3, 3, channels], as it is or turned round.
void transform_weights(Queue& queue, const float* w, bool turned, const Points& points) {
  parallel_chunks(queue, points.rows, 8, [&](int64_t begin, int64_t end) {
    for (int64_t output = begin; output < end; ++output)
      for (int64_t channel = 0; channel < points.columns; channel += kLanes) {
        Square<3> taps;
        for (int tap = 0; tap < 9; ++tap)
          taps[tap / 3][tap % 3] =
              load(w + (output * 9 + (turned ? 8 - tap : tap)) * points.columns + channel);
        points.store_square(along_both<4>(taps, weight_line), output, channel);
      }
  });
}

/// How many tiles are transformed at a time.
int64_t chunk_of(const TiledMap& map) {
  return std::min(map.tiles(), even_piece(map.tiles(), ceil_div(map.tiles(), kMostTiles)));
}

/// Maps in and out, and weights as points; whether these are [out, in] or [in, out] is the caller's matter.
struct Convolution {
  TiledMap in, out;
  Points weights;
  bool transposed = false;
  const float* bias = nullptr;
  bool accumulate = false;
};

void convolve(Queue& queue, const Convolution& args, float* scratch, float* y) {
  const int64_t tiles = args.in.tiles(), chunk = chunk_of(args.in);
  const Points in{scratch, chunk, args.in.channels};
  const Points out{scratch + Points::space(chunk, args.in.channels), chunk, args.out.channels};
  for (int64_t first = 0; first < tiles; first += chunk) {
    const int64_t count = std::min(chunk, tiles - first);
    transform_tiles<4>(queue, args.in, 1, first, count, input_line, in);
    parallel_for(queue, kPoints, [&](int64_t point) {
      gemm(count, out.columns, in.columns, {in.matrix(point), in.columns},
           {args.weights.matrix(point), args.weights.columns, args.transposed}, 0.0f, out.matrix(point),
           out.columns);
    });
    store_tiles(queue, out, args.bias, args.accumulate, first, count, args.out, y);
  }
}

TiledMap input_map(const ConvolutionShape& shape, const void* data) {
  return {static_cast<const float*>(data), shape.images, shape.height, shape.width, shape.channels};
}
TiledMap output_map(const ConvolutionShape& shape, const void* data) {
  return {static_cast<const float*>(data), shape.images, shape.height, shape.width, shape.out_channels};
}

/// Scratch of a convolution with its weights ahead.
float* scratch_of(Queue& queue, const ConvolutionShape& shape) {
  const int64_t chunk = chunk_of(input_map(shape, nullptr));
  return queue.scratch(Points::space(shape.out_channels, shape.channels) +
                       Points::space(chunk, shape.channels) + Points::space(chunk, shape.out_channels));
}

}  // namespace

bool suits_winograd(const ConvolutionShape& shape) {
  constexpr int kLeastChannels = 128;
  return shape.images > 0 && shape.kernel == 3 && shape.stride == 1 && shape.padding == 1 &&
         std::min(shape.channels, shape.out_channels) >= kLeastChannels && shape.channels % kLanes == 0 &&
         shape.out_channels % kLanes == 0;
}

void run_winograd(const ConvolutionForward& args, Queue& queue) {
  const ConvolutionShape& shape = args.shape;
  float* const scratch = scratch_of(queue, shape);
  const Points weights{scratch, shape.out_channels, shape.channels};
  transform_weights(queue, static_cast<const float*>(args.w), false, weights);
  convolve(queue,
           {.in = input_map(shape, args.x),
            .out = output_map(shape, nullptr),
            .weights = weights,
            .transposed = true,
            .bias = static_cast<const float*>(args.bias)},
           scratch + Points::space(weights.rows, weights.columns), static_cast<float*>(args.y));
}

void run_winograd(const ConvolutionBackwardInput& args, Queue& queue) {
  const ConvolutionShape& shape = args.shape;
  float* const scratch = scratch_of(queue, shape);
  const Points weights{scratch, shape.out_channels, shape.channels};
  transform_weights(queue, static_cast<const float*>(args.w), true, weights);
  convolve(queue,
           {.in = output_map(shape, args.dy),
            .out = input_map(shape, nullptr),
            .weights = weights,
            .accumulate = args.accumulate},
           scratch + Points::space(weights.rows, weights.columns), static_cast<float*>(args.dx));
}

void run_winograd(const ConvolutionBackwardWeight& args, Queue& queue) {
  const ConvolutionShape& shape = args.shape;
  run(ColumnSum{.x = args.dy,
                .sum = args.dbias,
                .rows = shape.images * shape.height * shape.width,
                .columns = shape.out_channels,
                .accumulate = args.accumulate},
      queue);
  const TiledMap x = input_map(shape, args.x), dy = output_map(shape, args.dy);
  const int64_t tiles = x.tiles(), chunk = chunk_of(x);
  float* const scratch = scratch_of(queue, shape);
  const Points gradient{scratch, shape.out_channels, shape.channels};
  const Points in{scratch + Points::space(gradient.rows, gradient.columns), chunk, shape.channels};
  const Points out{in.data + Points::space(chunk, shape.channels), chunk, shape.out_channels};
  for (int64_t first = 0; first < tiles; first += chunk) {
    const int64_t count = std::min(chunk, tiles - first);
    transform_tiles<4>(queue, x, 1, first, count, input_line, in);
    transform_tiles<2>(queue, dy, 0, first, count, output_adjoint_line, out);
    parallel_for(queue, kPoints, [&](int64_t point) {
      gemm(gradient.rows, gradient.columns, count, {out.matrix(point), out.columns, true},
           {in.matrix(point), in.columns}, first > 0 ? 1.0f : 0.0f, gradient.matrix(point), gradient.columns);
    });
  }
  parallel_chunks(queue, gradient.rows, 8, [&](int64_t begin, int64_t end) {
    for (int64_t output = begin; output < end; ++output)
      for (int64_t channel = 0; channel < shape.channels; channel += kLanes) {
        const Square<3> taps = along_both<3>(gradient.square(output, channel), weight_adjoint_line);
        for (int tap = 0; tap < 9; ++tap) {
          float* const out_tap = args.dw + (output * 9 + tap) * shape.channels + channel;
          const Vector value = taps[tap / 3][tap % 3];
          store(args.accumulate ? load(out_tap) + value : value, out_tap);
        }
      }
  });
}

}  // namespace scrawl::cpu
