// y = max(x, 0) and its gradient: one pass each, bound by memory.  The comparison asks "is it negative?", to
// which NaN answers no, so that NaN passes through.
#include "kernels/relu.h"

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

}  // namespace

void run(const ReluForward& args, Queue& queue) {
  with_storage(args.dtype, args.name, [&]<typename T>(Storage<T>) {
    const Forward<T> body{static_cast<const T*>(args.x), static_cast<const T*>(args.addend),
                          static_cast<T*>(args.y)};
    launch_elementwise<T>(queue, args.name, args.elements, {args.x, args.addend, args.y}, body);
  });
}

void run(const ReluBackward& args, Queue& queue) {
  with_storage(args.dtype, args.name, [&]<typename T>(Storage<T>) {
    const Backward<T> body{static_cast<const T*>(args.y), static_cast<const T*>(args.dy),
                           static_cast<T*>(args.dx), args.accumulate};
    launch_elementwise<T>(queue, args.name, args.elements, {args.y, args.dy, args.dx}, body);
  });
}

}  // namespace scrawl::SCRAWL_GPU
