// Bilinear resize of maps and its transpose.
//
// Forward: a thread makes one pack of channels of one output cell from four input cells, which its neighbours
// share in the first-level cache.  Bound by writing y.
//
// Backward gathers: a thread makes one pack of channels of one input cell from all outputs that read it, in
// order of columns in groups of four, then rows, by weights that it computes from their distance.  A block
// owns a square of cells, whose readers overlap: each output is loaded four times by threads, about 1.6 times
// by blocks.  Bound by reading dy.  Works for any ratio of sizes; there is one pass over an axis for an input
// cell however many outputs read it, so that few cells of many readers leave a GPU idle.
#include "kernels/upsample.h"

#include "kernels/cuda/device/columns.cuh"
#include "kernels/cuda/device/divisor.cuh"
#include "kernels/cuda/device/elementwise.cuh"
#include "kernels/cuda/device/storage.cuh"

namespace scrawl::SCRAWL_GPU {

namespace {

constexpr int kGatherLanes = 16;  // of a cell: 256 bytes, which leave 4×4 cells to a block
constexpr int kReadersAtOnce = 4;

/// A launch over rows of cells: blocks of neighbouring cells (y) by lanes of channels (x).
struct CellTiles {
  LaunchShape shape;
  int per_row;  // blocks

  CellTiles(std::string_view name, int64_t rows, int width, int64_t packs, int most_lanes) {
    const ColumnBlock block(packs, most_lanes);
    per_row = static_cast<int>(ceil_div(width, block.groups));
    shape = block.shape(name, rows * per_row);
    shape.block.y = ceil_div(width, std::max(per_row, 1));  // shares cells out evenly
  }
};

/// This block's row of cells and its first cell there.
struct Tile {
  unsigned row;
  int first;
};
__device__ Tile my_tile(int per_row) {
  return {blockIdx.x / per_row, static_cast<int>(blockIdx.x % per_row * blockDim.y)};
}

template <int width>
__device__ Floats<width> blend(const Floats<width>& low, const Floats<width>& high, float fraction) {
  Floats<width> result;
#pragma unroll
  for (int i = 0; i < width; ++i) result[i] = low[i] + fraction * (high[i] - low[i]);
  return result;
}

template <typename T, int width>
__global__ void __launch_bounds__(kColumnThreads) forward(UpsampleForward args, int tiles_per_row) {
  const UpsampleShape& shape = args.shape;
  const Tile tile = my_tile(tiles_per_row);
  const int column = tile.first + threadIdx.y;
  const int64_t channel = my_column<width>(), channels = shape.channels;
  if (column >= shape.out_width || channel >= channels) return;
  const int64_t image = tile.row / shape.out_height;
  const Interpolation row_at = shape.rows().at(tile.row % shape.out_height), at = shape.columns().at(column);
  const auto blended_row = [&](int row) {
    const int64_t in_row = (image * shape.in_height + row) * shape.in_width;
    const T* x = static_cast<const T*>(args.x) + in_row * channels + channel;
    return blend(load<width>(x + at.low * channels), load<width>(x + at.high * channels), at.fraction);
  };
  T* y = static_cast<T*>(args.y) + (int64_t{tile.row} * shape.out_width + column) * channels + channel;
  store<width>(y, blend(blended_row(row_at.low), blended_row(row_at.high), row_at.fraction));
}

/// An axis of the transposed resize: the weight of an input in an output falls from one to zero over a
/// distance of one input, and beyond the outermost inputs it stays one.
struct Transposed {
  float scale, inverse, shift, last_input;
  int out;

  explicit Transposed(const ResizeAxis& axis)
      : scale(axis.scale()),
        inverse(scale > 0.0f ? 1.0f / scale : 0.0f),
        shift(axis.align_corners ? 0.0f : 0.5f),
        last_input(static_cast<float>(axis.in - 1)),
        out(axis.out) {}

  /// Outputs [begin, end) with all that read the input; others among them weigh nothing.
  struct Readers {
    int begin, end;
  };
  __device__ Readers readers(int input) const {
    if (scale == 0.0f) return {0, out};
    const float low = (static_cast<float>(input) - 1.0f + shift) * inverse - shift;
    const float high = (static_cast<float>(input) + 1.0f + shift) * inverse - shift;
    const float off = 1e-3f + 5e-7f * high;  // more than rounding here and in weight() adds up to
    return {static_cast<int>(max(low - off + 1.0f, 0.0f)),
            min(static_cast<int>(max(high + off, 0.0f)) + 1, out)};
  }
  __device__ float weight(int output, int input) const {
    const float source = (static_cast<float>(output) + shift) * scale - shift;
    const float at = min(max(source, 0.0f), last_input);
    return max(1.0f - fabsf(at - static_cast<float>(input)), 0.0f);
  }
};

template <typename T>
struct Gather {
  const T* dy;
  T* dx;
  bool accumulate;
  Transposed rows, columns;
  int in_height, in_width, channels;
  int tile_width_log2;  // of a block's cells
  Divisor tiles_per_row, tiles_per_column;
};

template <typename T, int width>
__global__ void __launch_bounds__(kColumnThreads) backward(Gather<T> args) {
  const auto [line, tile_column] = args.tiles_per_row.divide(blockIdx.x);
  const auto [image, tile_row] = args.tiles_per_column.divide(line);
  const int width_log2 = args.tile_width_log2, tile_height = blockDim.y >> width_log2;
  const int row = tile_row * tile_height + (threadIdx.y >> width_log2);
  const int column = (tile_column << width_log2) + (threadIdx.y & ((1 << width_log2) - 1));
  const int64_t channel = my_column<width>(), channels = args.channels;
  if (row >= args.in_height || column >= args.in_width || channel >= channels) return;

  const auto rows = args.rows.readers(row), columns = args.columns.readers(column);
  const int64_t row_size = args.columns.out * channels;
  const T* dy = args.dy + image * args.rows.out * row_size + channel;
  Floats<width> sum{};
  for (int begin = columns.begin; begin < columns.end; begin += kReadersAtOnce) {
    float weights[kReadersAtOnce];
    int offsets[kReadersAtOnce];  // within a row
#pragma unroll
    for (int i = 0; i < kReadersAtOnce; ++i) {
      const int reader = min(begin + i, columns.end - 1);
      const float weight = args.columns.weight(reader, column);
      weights[i] = begin + i < columns.end ? weight : 0.0f;
      offsets[i] = reader * args.channels;
    }
    const T* from = dy + rows.begin * row_size;
#pragma unroll 1  // four loads a thread are enough, and few registers leave room for many warps
    for (int reader = rows.begin; reader < rows.end; ++reader, from += row_size) {
      Pack<T, width> packs[kReadersAtOnce];
#pragma unroll
      for (int i = 0; i < kReadersAtOnce; ++i) packs[i] = load_pack<width>(from + offsets[i]);
      const float row_weight = args.rows.weight(reader, row);
#pragma unroll
      for (int j = 0; j < width; ++j) {
        float blended = weights[0] * value_of(packs[0], j);
#pragma unroll
        for (int i = 1; i < kReadersAtOnce; ++i) blended += weights[i] * value_of(packs[i], j);
        sum[j] += row_weight * blended;
      }
    }
  }
  T* dx = args.dx + ((int64_t{image} * args.in_height + row) * args.in_width + column) * channels + channel;
  if (args.accumulate) {
    const auto before = load<width>(dx);
#pragma unroll
    for (int j = 0; j < width; ++j) sum[j] += before[j];
  }
  store<width>(dx, sum);
}

template <typename T, int width>
void launch_backward(const UpsampleBackward& args, Queue& queue) {
  const UpsampleShape& shape = args.shape;
  const ColumnBlock block(shape.channels / width, kGatherLanes);
  int width_log2 = 0;  // of a square, or of twice as many cells across as down
  while (1 << 2 * width_log2 < block.groups) ++width_log2;
  const int64_t across = ceil_div(shape.in_width, 1 << width_log2);
  const int64_t down = ceil_div(shape.in_height, block.groups >> width_log2);
  launch(queue, block.shape(args.name, shape.images * down * across), backward<T, width>,
         {.dy = static_cast<const T*>(args.dy),
          .dx = static_cast<T*>(args.dx),
          .accumulate = args.accumulate,
          .rows = Transposed(shape.rows()),
          .columns = Transposed(shape.columns()),
          .in_height = shape.in_height,
          .in_width = shape.in_width,
          .channels = shape.channels,
          .tile_width_log2 = width_log2,
          .tiles_per_row = Divisor(across),
          .tiles_per_column = Divisor(down)});
}

}  // namespace

void run(const UpsampleForward& args, Queue& queue) {
  const UpsampleShape& shape = args.shape;
  with_storage(args.dtype, args.name, [&]<typename T>(Storage<T>) {
    with_pack_width<T>(packable(shape.channels, {args.x, args.y}), [&](auto width) {
      const CellTiles tiles(args.name, shape.images * shape.out_height, shape.out_width,
                            shape.channels / width, 32);
      launch(queue, tiles.shape, forward<T, width>, args, tiles.per_row);
    });
  });
}

void run(const UpsampleBackward& args, Queue& queue) {
  with_storage(args.dtype, args.name, [&]<typename T>(Storage<T>) {
    with_pack_width<T>(packable(args.shape.channels, {args.dy, args.dx}),
                       [&](auto width) { launch_backward<T, width>(args, queue); });
  });
}

}  // namespace scrawl::SCRAWL_GPU
