// y = max(x, 0) and its gradient: one pass each, bound by memory.  A thread takes 16 bytes of every operand
// at a time; what is left at the end goes value by value.  The comparison asks "is it negative?", to which
// NaN answers no, so that NaN passes through.
#include "kernels/relu.h"

#include "kernels/cuda/device/launch.cuh"
#include "kernels/cuda/device/storage.cuh"
#include "kernels/cuda/device/thread.cuh"
#include "kernels/cuda/device/vector.cuh"

namespace scrawl::SCRAWL_GPU {

namespace {

constexpr int kThreads = 256;

/// Calls body.operator()<width>(index) for packs of values that cover [0, elements): this thread's pack, or
/// one value of the rest.
template <int width, typename Body>
__device__ void for_my_pack(int64_t elements, Body body) {
  const int64_t packs = elements / width;
  const int64_t thread = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (thread < packs) return body.template operator()<width>(thread * width);
  const int64_t index = packs * width + (thread - packs);
  if (index < elements) body.template operator()<1>(index);
}

template <typename T>
struct Forward {
  const T* x;
  T* y;
  template <int width>
  __device__ void operator()(int64_t index) const {
    auto values = load<width>(x + index);
#pragma unroll
    for (int i = 0; i < width; ++i) values[i] = values[i] < 0.0f ? 0.0f : values[i];
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
    const auto outputs = load<width>(y + index);
    auto gradients = load<width>(dy + index);
#pragma unroll
    for (int i = 0; i < width; ++i) gradients[i] = outputs[i] > 0.0f ? gradients[i] : 0.0f;
    if (accumulate) {
      const auto before = load<width>(dx + index);
#pragma unroll
      for (int i = 0; i < width; ++i) gradients[i] += before[i];
    }
    store<width>(dx + index, gradients);
  }
};

template <typename T, typename Body>
__global__ void __launch_bounds__(kThreads) elementwise(Body body, int64_t elements) {
  for_my_pack<kPackWidth<T>>(elements, body);
}

template <typename T, typename Body>
void launch_elementwise(Queue& queue, std::string_view name, Body body, int64_t elements) {
  const int64_t threads = elements / kPackWidth<T> + elements % kPackWidth<T>;
  launch(queue, {.name = name, .grid = {ceil_div(threads, kThreads)}, .block = {kThreads}},
         elementwise<T, Body>, body, elements);
}

}  // namespace

void run(const ReluForward& args, Queue& queue) {
  with_storage(args.dtype, args.name, [&]<typename T>(Storage<T>) {
    const Forward<T> body{static_cast<const T*>(args.x), static_cast<T*>(args.y)};
    launch_elementwise<T>(queue, args.name, body, args.elements);
  });
}

void run(const ReluBackward& args, Queue& queue) {
  with_storage(args.dtype, args.name, [&]<typename T>(Storage<T>) {
    const Backward<T> body{static_cast<const T*>(args.y), static_cast<const T*>(args.dy),
                           static_cast<T*>(args.dx), args.accumulate};
    launch_elementwise<T>(queue, args.name, body, args.elements);
  });
}

}  // namespace scrawl::SCRAWL_GPU
