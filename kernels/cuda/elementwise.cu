// Filling and y += x: one pass each, bound by memory (one write; two reads and a write).
#include "kernels/elementwise.h"

#include "kernels/cuda/device/elementwise.cuh"
#include "kernels/cuda/device/storage.cuh"

namespace scrawl::SCRAWL_GPU {

namespace {

struct Zero {
  uint8_t* y;
  template <int width>
  __device__ void operator()(int64_t index) const {
    store_pack<width>(y + index, Pack<uint8_t, width>{});
  }
};

struct Constant {
  float* y;
  float value;
  template <int width>
  __device__ void operator()(int64_t index) const {
    Floats<width> values;
#pragma unroll
    for (int i = 0; i < width; ++i) values[i] = value;
    store<width>(y + index, values);
  }
};

template <typename T>
struct Sum {
  const T* x;
  T* y;
  template <int width>
  __device__ void operator()(int64_t index) const {
    auto values = load<width>(y + index);
    const auto summands = load<width>(x + index);
#pragma unroll
    for (int i = 0; i < width; ++i) values[i] += summands[i];
    store<width>(y + index, values);
  }
};

}  // namespace

void run(const SetZero& args, Queue& queue) {
  launch_elementwise<uint8_t>(queue, args.name, args.bytes, {args.y}, Zero{static_cast<uint8_t*>(args.y)});
}

void run(const Fill& args, Queue& queue) {
  launch_elementwise<float>(queue, args.name, args.elements, {args.y}, Constant{args.y, args.value});
}

void run(const AddInto& args, Queue& queue) {
  with_storage(args.dtype, args.name, [&]<typename T>(Storage<T>) {
    const Sum<T> body{static_cast<const T*>(args.x), static_cast<T*>(args.y)};
    launch_elementwise<T>(queue, args.name, args.elements, {args.x, args.y}, body);
  });
}

}  // namespace scrawl::SCRAWL_GPU
