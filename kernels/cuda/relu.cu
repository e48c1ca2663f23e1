// The gradient of y = max(x, 0), where no matrix product takes it along: one pass, bound by memory.
#include "kernels/relu.h"

#include "kernels/cuda/device/elementwise.cuh"
#include "kernels/cuda/device/storage.cuh"

namespace scrawl::SCRAWL_GPU {

namespace {

template <typename T>
struct Backward {
  const T* y;
  const T* dy;
  T* dx;
  template <int width>
  __device__ void operator()(int64_t index) const {
    const auto outputs = load<width>(y + index);
    auto gradients = load<width>(dy + index);
#pragma unroll
    for (int i = 0; i < width; ++i) gradients[i] = outputs[i] > 0.0f ? gradients[i] : 0.0f;
    store<width>(dx + index, gradients);
  }
};

}  // namespace

void run(const ReluBackward& args, Queue& queue) {
  with_storage(args.dtype, args.name, [&]<typename T>(Storage<T>) {
    const Backward<T> body{static_cast<const T*>(args.y), static_cast<const T*>(args.dy),
                           static_cast<T*>(args.dx)};
    launch_elementwise<T>(queue, args.name, args.elements, {args.y, args.dy, args.dx}, body);
  });
}

}  // namespace scrawl::SCRAWL_GPU
