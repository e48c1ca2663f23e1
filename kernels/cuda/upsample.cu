// Bilinear resize of maps and its transpose.
//
// Forward: a thread makes one pack of channels of one output cell from four input cells, which its neighbours
// share in the first-level cache.  Bound by writing y.
//
// Backward gathers, separably: a block owns some neighbouring cells of one input row.  It walks the output
// columns that read them in windows; for each window its threads first add up, per output column, the output
// rows that read this input row, into shared memory, then add these sums into the cells' gradients, which
// stay in registers.  Every sum runs in rising order of outputs.  An output row is read by the (at most two)
// input rows that it blends, the second time from cache when maps are a few MB: bound by reading dy. Works
// for any ratio of sizes; shrinking leaves threads idle, since few outputs read a window's cells.
#include "kernels/upsample.h"

#include "kernels/cuda/device/columns.cuh"
#include "kernels/cuda/device/elementwise.cuh"
#include "kernels/cuda/device/storage.cuh"

namespace scrawl::SCRAWL_GPU {

namespace {

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

/// Outputs [begin, end) of an axis, those that read one input.
struct Readers {
  int begin, end;
};

/// Coordinates rise with the output, so readers are neighbours: estimates from the inverse map, widened by
/// more than rounding can be off, are narrowed to the exact range.
__device__ Readers readers_of(const ResizeAxis& axis, int input) {
  const float scale = axis.scale(), shift = axis.align_corners ? 0.0f : 0.5f;
  Readers readers{0, axis.out};
  if (scale > 0.0f) {
    const float low = (static_cast<float>(input) - 1.0f + shift) / scale - shift;
    const float high = (static_cast<float>(input) + 1.0f + shift) / scale - shift;
    if (input > 0) readers.begin = max(0, static_cast<int>(min(low, static_cast<float>(axis.out))) - 2);
    if (input < axis.in - 1) readers.end = static_cast<int>(min(high + 3.0f, static_cast<float>(axis.out)));
  }
  while (readers.begin < readers.end && axis.at(readers.begin).high < input) ++readers.begin;
  while (readers.begin < readers.end && axis.at(readers.end - 1).low > input) --readers.end;
  return readers;
}

/// Weight of an input in an output.
__device__ float weight_of(const ResizeAxis& axis, int output, int input) {
  const Interpolation at = axis.at(output);
  return (at.low == input ? 1.0f - at.fraction : 0.0f) + (at.high == input ? at.fraction : 0.0f);
}

template <int width>
__device__ void add_scaled(float weight, const Floats<width>& x, Floats<width>& sum) {
#pragma unroll
  for (int i = 0; i < width; ++i) sum[i] += weight * x[i];
}

template <typename T, int width>
__global__ void __launch_bounds__(kColumnThreads) backward(UpsampleBackward args, int tiles_per_row) {
  const UpsampleShape& shape = args.shape;
  const ResizeAxis rows = shape.rows(), columns = shape.columns();
  const Tile tile = my_tile(tiles_per_row);
  const int64_t image = tile.row / shape.in_height, channel = my_column<width>(), channels = shape.channels;
  const int in_row = tile.row % shape.in_height, cell = tile.first + threadIdx.y;
  const bool has_channel = channel < channels, has_cell = has_channel && cell < shape.in_width;
  const T* dy =
      static_cast<const T*>(args.dy) + image * shape.out_height * shape.out_width * channels + channel;

  const Readers row_readers = readers_of(rows, in_row);
  const Readers cell_readers = has_cell ? readers_of(columns, cell) : Readers{0, 0};
  const int last_cell = min(tile.first + static_cast<int>(blockDim.y), shape.in_width) - 1;
  const int first = readers_of(columns, tile.first).begin, end = readers_of(columns, last_cell).end;
  auto& window = shared<Pack<float, width>[kColumnThreads], struct Window>();
  Floats<width> sum{};
  for (int start = first; start < end; start += blockDim.y) {
    const int column = start + threadIdx.y;
    Floats<width> gathered{};
    if (has_channel && column < end)
#pragma unroll 2
      for (int row = row_readers.begin; row < row_readers.end; ++row) {
        const int64_t index = (int64_t{row} * shape.out_width + column) * channels;
        add_scaled(weight_of(rows, row, in_row), load<width>(dy + index), gathered);
      }
    store<width>(&window[thread_rank()][0], gathered);
    __syncthreads();
    const int my_end = min(cell_readers.end, start + static_cast<int>(blockDim.y));
    for (int reader = max(cell_readers.begin, start); reader < my_end; ++reader) {
      const int place = (reader - start) * blockDim.x + threadIdx.x;
      add_scaled(weight_of(columns, reader, cell), load<width>(&window[place][0]), sum);
    }
    __syncthreads();
  }
  if (!has_cell) return;
  T* dx = static_cast<T*>(args.dx) + (int64_t{tile.row} * shape.in_width + cell) * channels + channel;
  if (args.accumulate) add_scaled(1.0f, load<width>(dx), sum);
  store<width>(dx, sum);
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
  const UpsampleShape& shape = args.shape;
  with_storage(args.dtype, args.name, [&]<typename T>(Storage<T>) {
    with_pack_width<T>(packable(shape.channels, {args.dy, args.dx}), [&](auto width) {
      const CellTiles tiles(args.name, shape.images * shape.in_height, shape.in_width, shape.channels / width,
                            8);  // lanes: 128 bytes a cell leave 32 cells a block, and windows overlap little
      launch(queue, tiles.shape, backward<T, width>, args, tiles.per_row);
    });
  });
}

}  // namespace scrawl::SCRAWL_GPU
