// The decoder's sum of four maps at the finest size, in one pass over the output.  A thread walks a few
// neighbouring cells of an output row for one pack of channels (8 in bf16).  It loads their values of level 0
// at once; of each coarser level it keeps two neighbouring cells, already blended between their rows, and
// slides: an output then costs about 5 loads of coarse cells (from cache) instead of 12.  Coarser levels of
// equal size, as levels 2 and 3 are when the last stage keeps its stride, are added before they are blended.
// Bound by reading level 0 and writing y; about 18 instructions a value keep below that.
#include "kernels/decoder_fuse.h"

#include <stdexcept>

#include "kernels/cuda/device/columns.cuh"
#include "kernels/cuda/device/elementwise.cuh"
#include "kernels/cuda/device/storage.cuh"
#include "kernels/upsample.h"

namespace scrawl::SCRAWL_GPU {

namespace {

constexpr int kCells = 4;  // of a thread

/// One coarse level, or the sum of two of the same size.
template <typename T>
struct Level {
  const T* z;
  const T* other;  // of the same size, or null
  int height, width;
};

/// One level as a thread sees it: its two rows there, and the blended cells left and right of the output.
template <typename T, int width>
class Slider {
 public:
  __device__ Slider(const Level<T>& level, int64_t image, int row, int out_height, int out_width,
                    int64_t channel, int64_t channels)
      : axis_{level.width, out_width, false}, channels_(channels) {
    const Interpolation at = ResizeAxis{level.height, out_height, false}.at(row);
    const int64_t row_size = level.width * channels, first = image * level.height * row_size + channel;
    low_ = first + at.low * row_size;
    high_ = first + at.high * row_size;
    fraction_ = at.fraction;
    z_ = level.z;
    other_ = level.other;
  }

  /// sum += the level's value at output column `column`; columns come in rising order.
  __device__ void add(int column, Floats<width>& sum) {
    const Interpolation at = axis_.at(column);
    if (at.low != held_) {
      left_ = at.low == held_ + 1 ? right_ : blended(at.low);
      right_ = blended(at.high);
      held_ = at.low;
    }
#pragma unroll
    for (int i = 0; i < width; ++i) sum[i] += left_[i] + at.fraction * (right_[i] - left_[i]);
  }

 private:
  __device__ Floats<width> cell(int64_t index) const {
    auto values = load<width>(z_ + index);
    if (other_ != nullptr) {
      const auto others = load<width>(other_ + index);
#pragma unroll
      for (int i = 0; i < width; ++i) values[i] += others[i];
    }
    return values;
  }
  __device__ Floats<width> blended(int column) const {
    auto values = cell(low_ + column * channels_);
    const auto high = cell(high_ + column * channels_);
#pragma unroll
    for (int i = 0; i < width; ++i) values[i] += fraction_ * (high[i] - values[i]);
    return values;
  }

  ResizeAxis axis_;
  const T* z_;
  const T* other_;
  int64_t channels_, low_, high_;
  float fraction_;
  int held_ = -2;  // column of left_: none, and none to the left of the first
  Floats<width> left_, right_;
};

template <typename T, int width>
struct Fuse {
  const T* z0;
  std::array<Level<T>, 3> levels;
  const float* bias;
  T* y;
  int height, out_width, channels;
  int blocks_per_row;
};

template <typename T, int width, int level_count>
__global__ void __launch_bounds__(kColumnThreads) fuse(Fuse<T, width> args) {
  const unsigned row = blockIdx.x / args.blocks_per_row;
  const int first = (blockIdx.x % args.blocks_per_row * blockDim.y + threadIdx.y) * kCells;
  const int64_t channel = my_column<width>(), channels = args.channels;
  if (first >= args.out_width || channel >= channels) return;
  const int64_t offset = (int64_t{row} * args.out_width + first) * channels + channel;
  Pack<T, width> finest[kCells];
#pragma unroll
  for (int i = 0; i < kCells; ++i)
    if (first + i < args.out_width) finest[i] = load_pack<width>(args.z0 + offset + i * channels);

  const auto slider = [&](int level) {
    return Slider<T, width>(args.levels[level], row / args.height, row % args.height, args.height,
                            args.out_width, channel, channels);
  };
  Slider<T, width> a = slider(0), b = slider(1), c = slider(level_count - 1);
  const auto bias = load_unaligned<width>(args.bias + channel);
#pragma unroll
  for (int i = 0; i < kCells; ++i) {
    if (first + i >= args.out_width) return;
    Floats<width> sum;
#pragma unroll
    for (int j = 0; j < width; ++j) sum[j] = as_float(finest[i][j]) + bias[j];
    a.add(first + i, sum);
    b.add(first + i, sum);
    if constexpr (level_count == 3) c.add(first + i, sum);
    store<width>(args.y + offset + i * channels, sum);
  }
}

template <typename T, int width>
void launch_fuse(const DecoderFuseForward& args, Queue& queue) {
  const bool paired = args.heights[2] == args.heights[3] && args.widths[2] == args.widths[3];
  Fuse<T, width> fused{};
  fused.z0 = static_cast<const T*>(args.z[0]);
  fused.bias = args.bias;
  fused.y = static_cast<T*>(args.y);
  fused.height = args.heights[0];
  fused.out_width = args.widths[0];
  fused.channels = args.channels;
  for (int i = 0; i < 3; ++i)
    fused.levels[i] = {static_cast<const T*>(args.z[i + 1]), nullptr, args.heights[i + 1],
                       args.widths[i + 1]};
  if (paired) fused.levels[1].other = static_cast<const T*>(args.z[3]);

  const ColumnBlock block(args.channels / width);
  const int64_t walks = ceil_div(args.widths[0], kCells), blocks = ceil_div(walks, block.groups);
  fused.blocks_per_row = static_cast<int>(blocks);
  LaunchShape shape = block.shape(args.name, args.images * args.heights[0] * blocks);
  shape.block.y = ceil_div(walks, std::max<int64_t>(blocks, 1));  // shares walks out evenly
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
