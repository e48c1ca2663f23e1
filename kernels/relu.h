#pragma once
#include <stdexcept>
#include <string>
#include <string_view>

#include "kernels/cost.h"
#include "kernels/dtype.h"
#include "kernels/queue.h"

namespace scrawl {

/// y = max(x + addend, 0), the addend null for zero; y may lie over either.  NaN stays NaN, as in PyTorch: a
/// diverging run must show.
struct ReluForward {
  static constexpr std::string_view name = "relu.forward";
  DType dtype = DType::f32;
  const void* x = nullptr;
  const void* addend = nullptr;
  void* y = nullptr;
  int64_t elements = 0;
  Cost cost() const { return {(addend ? 3 : 2) * elements * size_of(dtype), (addend ? 2 : 1) * elements}; }
};

/// dx (+)= dy where y > 0; dx may lie over dy.  Where dx_sum [columns] is not null, and dx is not added to,
/// dx_sum (+)= Σ_rows dx as well.
struct ReluBackward {
  static constexpr std::string_view name = "relu.backward";
  DType dtype = DType::f32;
  const void* y = nullptr;
  const void* dy = nullptr;
  void* dx = nullptr;
  float* dx_sum = nullptr;
  int64_t elements = 0;
  int columns = 1;
  bool accumulate = false;
  bool accumulate_sum = false;
  Cost cost() const { return {(accumulate ? 4 : 3) * elements * size_of(dtype), elements}; }
};

/// Throws std::invalid_argument when the sum is wanted of a gradient that is added to.
inline void check_results(const ReluBackward& args) {
  if (args.dx_sum && args.accumulate)
    throw std::invalid_argument(std::string(args.name) + ": dx_sum is of a dx that is not added to");
}

namespace cpu {
void run(const ReluForward&, Queue&);
void run(const ReluBackward&, Queue&);
}  // namespace cpu
namespace cuda {
void run(const ReluForward&, Queue&);
void run(const ReluBackward&, Queue&);
}  // namespace cuda
namespace simt {
void run(const ReluForward&, Queue&);
void run(const ReluBackward&, Queue&);
}  // namespace simt

}  // namespace scrawl
