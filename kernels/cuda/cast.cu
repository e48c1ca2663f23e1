// Between fp32 and bf16, eight values a thread: one pass, bound by memory.
#include "kernels/cast.h"

#include "kernels/cuda/device/elementwise.cuh"
#include "kernels/cuda/device/storage.cuh"

namespace scrawl::SCRAWL_GPU {
namespace {

template <typename From, typename To>
struct Convert {
  const From* x;
  To* y;
  bool accumulate;
  template <int width>
  __device__ void operator()(int64_t index) const {
    auto values = load<width>(x + index);
    if (accumulate) {
      const auto before = load<width>(y + index);
#pragma unroll
      for (int i = 0; i < width; ++i) values[i] += before[i];
    }
    store<width>(y + index, values);
  }
};

}  // namespace

void run(const Cast& args, Queue& queue) {
  with_storage(args.from, args.name, [&]<typename From>(Storage<From>) {
    with_storage(args.to, args.name, [&]<typename To>(Storage<To>) {
      const Convert<From, To> body{static_cast<const From*>(args.x), static_cast<To*>(args.y),
                                   args.accumulate};
      launch_elementwise<bf16>(queue, args.name, args.elements, {args.x, args.y}, body);  // packs of eight
    });
  });
}

}  // namespace scrawl::SCRAWL_GPU
