#pragma once
#include <string_view>

#include "kernels/cost.h"
#include "kernels/queue.h"

namespace scrawl {

/// `bytes` bytes of zero.
struct SetZero {
  static constexpr std::string_view name = "set_zero";
  void* y = nullptr;
  int64_t bytes = 0;
  Cost cost() const { return {bytes, 0}; }
};

namespace cpu {
void run(const SetZero&, Queue&);
}  // namespace cpu
namespace cuda {
void run(const SetZero&, Queue&);
}  // namespace cuda
namespace simt {
void run(const SetZero&, Queue&);
}  // namespace simt

}  // namespace scrawl
