// ReLU and dropout of whole channels behind a library's batch norm, one pass each way over rows of channels.
// Blocks stay within one image, so that a thread draws the factors of its channels once.  What ReLU let pass
// is found again from x and the statistics.  Bound by memory; nothing is tuned, since our own batch norm does
// this within its passes (batch_norm_relu.cu).
#include "kernels/cuda/norm/relu_dropout.h"

#include "kernels/cuda/device/columns.cuh"
#include "kernels/cuda/device/elementwise.cuh"
#include "kernels/cuda/device/storage.cuh"

namespace scrawl::SCRAWL_GPU {

namespace {

constexpr int kRowsOfThread = 8;

/// Calls body(row, column, factors) for the packs of a thread.
template <int width, typename Body>
__device__ __forceinline__ void for_rows(const ChannelDropout& dropout, int64_t positions, int64_t channels,
                                         unsigned parts, Body body) {
  const int64_t column = my_column<width>();
  if (column >= channels) return;
  const unsigned image = blockIdx.x / parts, part = blockIdx.x % parts;
  Floats<width> factors;
#pragma unroll
  for (int i = 0; i < width; ++i)
    factors[i] = dropout.scale(static_cast<uint32_t>(image * channels + column + i));
  for (int64_t row = part * blockDim.y + threadIdx.y; row < positions; row += parts * blockDim.y)
    body(image * positions + row, column, factors);
}

template <typename T, int width>
__global__ void __launch_bounds__(kColumnThreads) pass(BatchNormReluForward args, unsigned parts) {
  for_rows<width>(args.dropout, args.positions, args.channels, parts,
                  [&](int64_t row, int64_t column, const Floats<width>& factors) {
                    T* y = static_cast<T*>(args.y) + row * args.channels + column;
                    auto values = load<width>(y);
#pragma unroll
                    for (int i = 0; i < width; ++i)
                      values[i] = factors[i] * (values[i] < 0.0f ? 0.0f : values[i]);  // NaN passes through
                    store<width>(y, values);
                  });
}

template <typename T, int width>
__global__ void __launch_bounds__(kColumnThreads)
    pass_back(BatchNormReluBackward args, T* dz, unsigned parts) {
  for_rows<width>(
      args.dropout, args.positions, args.channels, parts,
      [&](int64_t row, int64_t column, const Floats<width>& factors) {
        const int64_t at = row * args.channels + column;
        const auto x = load<width>(static_cast<const T*>(args.x) + at);
        const auto dy = load<width>(static_cast<const T*>(args.dy) + at);
        const auto mean = load_unaligned<width>(args.mean + column);
        const auto rstd = load_unaligned<width>(args.rstd + column);
        const auto gamma = load_unaligned<width>(args.gamma + column);
        const auto beta = load_unaligned<width>(args.beta + column);
        Floats<width> values;
#pragma unroll
        for (int i = 0; i < width; ++i)
          values[i] = (x[i] - mean[i]) * (gamma[i] * rstd[i]) + beta[i] > 0.0f ? factors[i] * dy[i] : 0.0f;
        store<width>(dz + at, values);
      });
}

/// Calls body(width, shape, parts of an image) for rows of channels in memory at `pointers`.
template <typename T, typename Args, typename Body>
void with_launch_shape(const Args& args, std::initializer_list<const void*> pointers, Body body) {
  with_pack_width<T>(packable(args.channels, pointers), [&](auto width) {
    const ColumnBlock block(args.channels / width);
    const int64_t parts = ceil_div(args.positions, kRowsOfThread * block.groups);
    body(width, block.shape(args.name, args.images * parts), static_cast<unsigned>(parts));
  });
}

}  // namespace

void relu_dropout(const BatchNormReluForward& args, Queue& queue) {
  with_storage(args.dtype, args.name, [&]<typename T>(Storage<T>) {
    with_launch_shape<T>(args, {args.y}, [&](auto width, const LaunchShape& shape, unsigned parts) {
      launch(queue, shape, pass<T, width>, args, parts);
    });
  });
}

void relu_dropout_backward(const BatchNormReluBackward& args, void* dz, Queue& queue) {
  with_storage(args.dtype, args.name, [&]<typename T>(Storage<T>) {
    with_launch_shape<T>(args, {args.x, args.dy, dz},
                         [&](auto width, const LaunchShape& shape, unsigned parts) {
                           launch(queue, shape, pass_back<T, width>, args, static_cast<T*>(dz), parts);
                         });
  });
}

}  // namespace scrawl::SCRAWL_GPU
