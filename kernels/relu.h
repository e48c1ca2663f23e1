#pragma once
#include <string_view>

#include "kernels/cost.h"
#include "kernels/dtype.h"
#include "kernels/queue.h"

namespace scrawl {

/// dx = dy where y = max(·, 0) is positive, else 0, also where y is NaN; dx may lie over dy.
struct ReluBackward {
  static constexpr std::string_view name = "relu.backward";
  DType dtype = DType::f32;
  const void* y = nullptr;
  const void* dy = nullptr;
  void* dx = nullptr;
  int64_t elements = 0;
  Cost cost() const { return {3 * elements * size_of(dtype), elements}; }
};

namespace cpu {
void run(const ReluBackward&, Queue&);
}
namespace cuda {
void run(const ReluBackward&, Queue&);
}
namespace simt {
void run(const ReluBackward&, Queue&);
}

}  // namespace scrawl
