// Dropout of whole channels: one pass, bound by memory.  A block stays within one image: its threads draw the
// factors of its channels together, one each, and keep them in shared memory; then every thread multiplies
// several positions of its pack of channels.
#include "kernels/channel_dropout.h"

#include "kernels/cuda/device/columns.cuh"
#include "kernels/cuda/device/elementwise.cuh"
#include "kernels/cuda/device/storage.cuh"

namespace scrawl::SCRAWL_GPU {

namespace {

constexpr int kSteps = 4;  // positions of a thread

template <typename T, int width>
__global__ void __launch_bounds__(kColumnThreads) drop(ChannelDropout args, int blocks_per_image) {
  const auto* x = static_cast<const T*>(args.x);
  auto* y = static_cast<T*>(args.y);
  auto& factors = shared<float[kColumnThreads], struct Factors>();
  const int64_t image = blockIdx.x / blocks_per_image, column = my_column<width>();
  const int drawn = thread_rank(), block_columns = blockDim.x * width;
  const int64_t drawn_column = int64_t{blockIdx.y} * block_columns + drawn;
  if (drawn < block_columns && drawn_column < args.channels)
    factors[drawn] = args.scale(image, static_cast<int>(drawn_column));
  __syncthreads();
  if (column >= args.channels) return;

  Floats<width> scale;
#pragma unroll
  for (int i = 0; i < width; ++i) scale[i] = factors[threadIdx.x * width + i];
  const int64_t first = int64_t{blockIdx.x % blocks_per_image} * (blockDim.y * kSteps) + threadIdx.y;
#pragma unroll
  for (int step = 0; step < kSteps; ++step) {
    const int64_t position = first + step * blockDim.y;
    if (position >= args.positions) return;
    const int64_t index = (image * args.positions + position) * args.channels + column;
    auto values = load<width>(x + index);
#pragma unroll
    for (int i = 0; i < width; ++i) values[i] *= scale[i];
    if (args.accumulate) {
      const auto before = load<width>(y + index);
#pragma unroll
      for (int i = 0; i < width; ++i) values[i] += before[i];
    }
    store<width>(y + index, values);
  }
}

}  // namespace

void run(const ChannelDropout& args, Queue& queue) {
  with_storage(args.dtype, args.name, [&]<typename T>(Storage<T>) {
    with_pack_width<T>(packable(args.channels, {args.x, args.y}), [&](auto width) {
      const ColumnBlock block(args.channels / width);
      const int64_t blocks = ceil_div(args.positions, block.groups * kSteps);
      launch(queue, block.shape(args.name, args.images * blocks), drop<T, width>, args,
             static_cast<int>(blocks));
    });
  });
}

}  // namespace scrawl::SCRAWL_GPU
