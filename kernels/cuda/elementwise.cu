// Filling: one pass, bound by memory.
#include "kernels/elementwise.h"

#include "kernels/cuda/device/elementwise.cuh"

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

}  // namespace

void run(const SetZero& args, Queue& queue) {
  launch_elementwise<uint8_t>(queue, args.name, args.bytes, {args.y}, Zero{static_cast<uint8_t*>(args.y)});
}

void run(const Fill& args, Queue& queue) {
  launch_elementwise<float>(queue, args.name, args.elements, {args.y}, Constant{args.y, args.value});
}

}  // namespace scrawl::SCRAWL_GPU
