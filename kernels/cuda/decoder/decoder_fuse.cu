// The decoder's sum of four maps at the finest size, in one pass over the output.  A block makes a few rows
// of a strip of output cells, for 128 bytes of channels.  For each row its threads blend the two rows of
// every coarser level, a pack of channels (8 in bf16) of a coarse cell at a time, into shared memory; then a
// thread makes the packs of a few output cells from level 0 and two of these cells of each level.  Coarser
// levels of equal size, as levels 2 and 3 are when the last stage keeps its stride, are added before they are
// blended, and the bias is added to the last of them.  Which cells an output column blends stands in a table,
// once for all rows; coarse rows come from the first-level cache when the next output row reads them again.
// Bound by reading level 0 and writing y.
#include "kernels/decoder_fuse.h"

#include <stdexcept>

#include "kernels/cuda/device/columns.cuh"
#include "kernels/cuda/device/elementwise.cuh"
#include "kernels/cuda/device/storage.cuh"
#include "kernels/upsample.h"

namespace scrawl::SCRAWL_GPU {

namespace {

constexpr int kLanes = 8;         // packs of a cell that a block makes
constexpr int kCells = 4;         // of an output row, that a thread makes
constexpr int kRows = 4;          // of a block
constexpr int kMostColumns = 96;  // of a block
constexpr int64_t kSharedBytes = 90 * 1024;

/// An axis of a coarse level.
struct CoarseAxis {
  float scale;
  int in;
  CoarseAxis() = default;
  CoarseAxis(int from, int to) : scale(ResizeAxis{from, to, false}.scale()), in(from) {}

  /// As ResizeAxis has it, without a division.
  __device__ Interpolation at(int position) const {
    const float source = max(scale * (static_cast<float>(position) + 0.5f) - 0.5f, 0.0f);
    const int low = min(static_cast<int>(source), in - 1);
    return {low, min(low + 1, in - 1), source - static_cast<float>(low)};
  }
};

/// One coarse level, or the sum of two of the same size.
template <typename T>
struct Level {
  const T* z;
  const T* other;  // of the same size, or null
  CoarseAxis rows, columns;
  int cells;  // of a row, that a block may need
};

template <typename T>
struct Fuse {
  const T* z0;
  std::array<Level<T>, 3> levels;
  const float* bias;
  T* y;
  int height, width, channels;
  int columns;  // of a block
  int blocks_across, blocks_down;
};

/// Packs of neighbouring cells as floats in shared memory, in parts of up to 16 bytes: lanes then meet no
/// bank twice.
template <int width>
class Row {
 public:
  static constexpr int kPart = width < 4 ? width : 4;
  __device__ explicit Row(float* memory) : mine_(memory + threadIdx.x * kPart) {}
  /// Where a cell begins; parts follow at distances of blockDim.x · kPart.
  __device__ static int offset(int cell) { return cell * width * static_cast<int>(blockDim.x); }

  __device__ void put(int offset, const Floats<width>& values) const {
#pragma unroll
    for (int i = 0; i < width; i += kPart) {
      Floats<kPart> part;
#pragma unroll
      for (int j = 0; j < kPart; ++j) part[j] = values[i + j];
      store<kPart>(mine_ + offset + i * static_cast<int>(blockDim.x), part);
    }
  }
  /// sum += low + fraction · (high − low) of the cells at two offsets.
  __device__ void add_blend(int low, int high, float fraction, Floats<width>& sum) const {
#pragma unroll
    for (int i = 0; i < width; i += kPart) {
      const int distance = i * static_cast<int>(blockDim.x);
      const auto left = load<kPart>(mine_ + low + distance), right = load<kPart>(mine_ + high + distance);
#pragma unroll
      for (int j = 0; j < kPart; ++j) sum[i + j] += left[j] + fraction * (right[j] - left[j]);
    }
  }

 private:
  float* mine_;
};

/// Two rows of a level, blended; `start` is what values begin with.
template <bool paired, int width, typename T>
__device__ Floats<width> blended_rows(const Level<T>& level, int64_t low, int64_t high, float fraction,
                                      const Floats<width>& start) {
  const auto a = load_pack<width>(level.z + low), b = load_pack<width>(level.z + high);
  Pack<T, width> c, d;
  if constexpr (paired) {
    c = load_pack<width>(level.other + low);
    d = load_pack<width>(level.other + high);
  }
  Floats<width> values;
#pragma unroll
  for (int i = 0; i < width; ++i) {
    float upper = value_of(a, i), lower = value_of(b, i);
    if constexpr (paired) {
      upper += value_of(c, i);
      lower += value_of(d, i);
    }
    values[i] = start[i] + upper + fraction * (lower - upper);
  }
  return values;
}

/// Where an output column lies in a level: the offsets of two of the block's cells there.
struct Blend {
  uint16_t low, high;
  float fraction;
};

template <typename T, int width, int level_count>
__global__ void __launch_bounds__(kColumnThreads, 4) fuse(Fuse<T> args) {
  const int across = blockIdx.x % args.blocks_across, line = blockIdx.x / args.blocks_across;
  const int image = line / args.blocks_down, first_row = line % args.blocks_down * kRows;
  const int first = across * args.columns, end = min(first + args.columns, args.width);
  const int64_t channel = my_column<width>(), channels = args.channels;
  const bool has_channel = channel < channels;

  auto& blends = shared<Blend[level_count][kMostColumns], struct Blends>();
  for (int i = thread_rank(); i < end - first; i += blockDim.x * blockDim.y)
#pragma unroll
    for (int level = 0; level < level_count; ++level) {
      const CoarseAxis& axis = args.levels[level].columns;
      const Interpolation at = axis.at(first + i);
      const int base = axis.at(first).low;
      blends[level][i] = {static_cast<uint16_t>(Row<width>::offset(at.low - base)),
                          static_cast<uint16_t>(Row<width>::offset(at.high - base)), at.fraction};
    }
  const auto bias = has_channel ? load_unaligned<width>(args.bias + channel) : Floats<width>{};

  for (int row = first_row; row < min(first_row + kRows, args.height); ++row) {
    const int64_t offset = ((int64_t{image} * args.height + row) * args.width + first) * channels + channel;
    Pack<T, width> finest[kCells];
#pragma unroll
    for (int i = 0; i < kCells; ++i) {
      const int column = min(static_cast<int>(threadIdx.y + i * blockDim.y), end - first - 1);
      if (has_channel) finest[i] = load_pack<width>(args.z0 + offset + column * channels);
    }
    float* memory = dynamic_shared<float>();
    const auto blend_rows = [&]<int i>(std::integral_constant<int, i>) {
      constexpr bool paired = level_count == 2 && i == 1;
      const Level<T>& level = args.levels[i];
      const Interpolation at = level.rows.at(row);
      const int base = level.columns.at(first).low, cells = level.columns.at(end - 1).high - base + 1;
      const int64_t image_row = int64_t{image} * level.rows.in;
      const int64_t low = ((image_row + at.low) * level.columns.in + base) * channels + channel;
      const int64_t high = ((image_row + at.high) * level.columns.in + base) * channels + channel;
      for (int cell = threadIdx.y; cell < cells && has_channel; cell += blockDim.y)
        Row<width>(memory).put(
            Row<width>::offset(cell),
            blended_rows<paired>(level, low + cell * channels, high + cell * channels, at.fraction,
                                 i + 1 == level_count ? bias : Floats<width>{}));
      memory += Row<width>::offset(level.cells);
    };
    blend_rows(std::integral_constant<int, 0>{});
    blend_rows(std::integral_constant<int, 1>{});
    if constexpr (level_count == 3) blend_rows(std::integral_constant<int, 2>{});
    __syncthreads();
#pragma unroll
    for (int i = 0; i < kCells; ++i) {
      const int column = threadIdx.y + i * blockDim.y;
      if (column >= end - first || !has_channel) break;
      Floats<width> sum;
#pragma unroll
      for (int j = 0; j < width; ++j) sum[j] = value_of(finest[i], j);
      memory = dynamic_shared<float>();
#pragma unroll
      for (int level = 0; level < level_count; ++level) {
        const auto [low, high, fraction] = blends[level][column];
        Row<width>(memory).add_blend(low, high, fraction, sum);
        memory += Row<width>::offset(args.levels[level].cells);
      }
      store<width>(args.y + offset + column * channels, sum);
    }
    __syncthreads();
  }
}

template <typename T, int width>
void launch_fuse(const DecoderFuseForward& args, Queue& queue) {
  const bool paired = args.heights[2] == args.heights[3] && args.widths[2] == args.widths[3];
  const int level_count = paired ? 2 : 3;
  Fuse<T> fused{};
  fused.z0 = static_cast<const T*>(args.z[0]);
  fused.bias = args.bias;
  fused.y = static_cast<T*>(args.y);
  fused.height = args.heights[0];
  fused.width = args.widths[0];
  fused.channels = args.channels;
  for (int i = 0; i < level_count; ++i)
    fused.levels[i] = {static_cast<const T*>(args.z[i + 1]),
                       nullptr,
                       {args.heights[i + 1], args.heights[0]},
                       {args.widths[i + 1], args.widths[0]},
                       0};
  if (paired) fused.levels[1].other = static_cast<const T*>(args.z[3]);

  const ColumnBlock block(args.channels / width, kLanes);
  fused.blocks_across =
      static_cast<int>(ceil_div(fused.width, std::min(kMostColumns, kCells * block.groups)));
  int64_t bytes = 0;
  for (;; ++fused.blocks_across) {
    fused.columns = static_cast<int>(ceil_div(fused.width, fused.blocks_across));
    bytes = 0;
    for (int i = 0; i < level_count; ++i) {
      Level<T>& level = fused.levels[i];
      level.cells = std::min(level.columns.in, static_cast<int>(fused.columns * level.columns.scale) + 3);
      bytes += int64_t{level.cells} * block.lanes * width * static_cast<int64_t>(sizeof(float));
    }
    if (bytes <= kSharedBytes || fused.columns == 1) break;
  }
  fused.blocks_down = static_cast<int>(ceil_div(fused.height, kRows));
  LaunchShape shape = block.shape(args.name, args.images * fused.blocks_down * fused.blocks_across);
  shape.block.y = ceil_div(fused.columns, kCells);  // shares cells out evenly
  shape.shared_bytes = bytes;
  launch(queue, shape, paired ? fuse<T, width, 2> : fuse<T, width, 3>, fused);
}

}  // namespace

void run(const DecoderFuseForward& args, Queue& queue) {
  with_storage(args.dtype, args.name, [&]<typename T>(Storage<T>) {
    const int64_t packable_channels =
        packable(args.channels, {args.z[0], args.z[1], args.z[2], args.z[3], args.y});
    with_pack_width<T>(packable_channels, [&](auto width) { launch_fuse<T, width>(args, queue); });
  });
}

}  // namespace scrawl::SCRAWL_GPU
