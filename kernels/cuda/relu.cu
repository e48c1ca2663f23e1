// y = max(x, 0) and its gradient: one pass each, bound by memory.  The comparison asks "is it negative?", to
// which NaN answers no, so that NaN passes through.  Where the gradient's sum over rows is wanted, the pass
// goes by columns instead of value by value, with two rows of a thread on their way at a time.
#include "kernels/relu.h"

#include "kernels/cuda/device/column_sums.cuh"
#include "kernels/cuda/device/elementwise.cuh"
#include "kernels/cuda/device/storage.cuh"

namespace scrawl::SCRAWL_GPU {

namespace {

template <typename T>
struct Forward {
  const T* x;
  const T* addend;
  T* y;
  template <int width>
  __device__ void operator()(int64_t index) const {
    auto values = load<width>(x + index);
    Floats<width> addends{};
    if (addend != nullptr) addends = load<width>(addend + index);
#pragma unroll
    for (int i = 0; i < width; ++i) {
      values[i] += addends[i];
      values[i] = values[i] < 0.0f ? 0.0f : values[i];
    }
    store<width>(y + index, values);
  }
};

template <typename T>
struct Backward {
  const T* y;
  const T* dy;
  T* dx;
  bool accumulate;
  template <int width>
  __device__ void operator()(int64_t index) const {
    const auto outputs = load<width>(y + index), gradients = load<width>(dy + index);
    Floats<width> result{};
    if (accumulate) result = load<width>(dx + index);
#pragma unroll
    for (int i = 0; i < width; ++i) result[i] += outputs[i] > 0.0f ? gradients[i] : 0.0f;
    store<width>(dx + index, result);
  }
};

template <typename T, int width>
__global__ void __launch_bounds__(kColumnThreads, 4)
    backward_with_sum(const T* y, const T* dy, T* dx, int64_t rows, ColumnSumsTarget to) {
  constexpr int kRows = 2;
  const int64_t column = my_column<width>(), first = blockIdx.x * to.rows_of_part;
  const int64_t end = column < to.columns ? min(rows, first + to.rows_of_part) : 0;
  Floats<width> total{};
  const int64_t behind = end * to.columns, step = blockDim.y * to.columns;
  for (int64_t at = (first + threadIdx.y) * to.columns + column; at < behind; at += kRows * step) {
    Pack<T, width> outputs[kRows], gradients[kRows];
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      if (at + i * step >= behind) continue;
      outputs[i] = load_pack<width>(y + at + i * step);
      gradients[i] = load_pack<width>(dy + at + i * step);
    }
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      if (at + i * step >= behind) continue;
      Floats<width> values;
#pragma unroll
      for (int j = 0; j < width; ++j) {
        values[j] = value_of(outputs[i], j) > 0.0f ? value_of(gradients[i], j) : 0.0f;
        total[j] += values[j];
      }
      store<width>(dx + at + i * step, values);
    }
  }
  finish_column_sums(total, to);
}

template <typename T>
void launch_with_sum(const ReluBackward& args, Queue& queue) {
  with_pack_width<T>(packable(args.columns, {args.y, args.dy, args.dx}), [&](auto width) {
    const int64_t rows = args.elements / args.columns;
    const ColumnSumsLaunch sums(rows, args.columns, width, queue);
    launch(queue, sums.shape(args.name), backward_with_sum<T, width>, static_cast<const T*>(args.y),
           static_cast<const T*>(args.dy), static_cast<T*>(args.dx), rows,
           sums.target(args.dx_sum, args.accumulate_sum));
  });
}

}  // namespace

void run(const ReluForward& args, Queue& queue) {
  with_storage(args.dtype, args.name, [&]<typename T>(Storage<T>) {
    const Forward<T> body{static_cast<const T*>(args.x), static_cast<const T*>(args.addend),
                          static_cast<T*>(args.y)};
    launch_elementwise<T>(queue, args.name, args.elements, {args.x, args.addend, args.y}, body);
  });
}

void run(const ReluBackward& args, Queue& queue) {
  check_results(args);
  with_storage(args.dtype, args.name, [&]<typename T>(Storage<T>) {
    if (args.dx_sum) return launch_with_sum<T>(args, queue);
    const Backward<T> body{static_cast<const T*>(args.y), static_cast<const T*>(args.dy),
                           static_cast<T*>(args.dx), args.accumulate};
    launch_elementwise<T>(queue, args.name, args.elements, {args.y, args.dy, args.dx}, body);
  });
}

}  // namespace scrawl::SCRAWL_GPU
