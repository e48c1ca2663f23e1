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

}  // namespace

void run(const SetZero& args, Queue& queue) {
  launch_elementwise<uint8_t>(queue, args.name, args.bytes, {args.y}, Zero{static_cast<uint8_t*>(args.y)});
}

}  // namespace scrawl::SCRAWL_GPU
