#pragma once
#include <string_view>

#include "kernels/cost.h"
#include "kernels/dtype.h"
#include "kernels/queue.h"

namespace scrawl {

/// `bytes` bytes of zero.
struct SetZero {
  static constexpr std::string_view name = "set_zero";
  void* y = nullptr;
  int64_t bytes = 0;
  Cost cost() const { return {bytes, 0}; }
};

/// y = value.
struct Fill {
  static constexpr std::string_view name = "fill";
  float* y = nullptr;
  int64_t elements = 0;
  float value = 0.0f;
  Cost cost() const { return {elements * static_cast<int64_t>(sizeof(float)), 0}; }
};

/// y += x.
struct AddInto {
  static constexpr std::string_view name = "add_into";
  DType dtype = DType::f32;
  const void* x = nullptr;
  void* y = nullptr;
  int64_t elements = 0;
  Cost cost() const { return {3 * elements * size_of(dtype), elements}; }
};

namespace cpu {
void run(const SetZero&, Queue&);
void run(const Fill&, Queue&);
void run(const AddInto&, Queue&);
}  // namespace cpu
namespace cuda {
void run(const SetZero&, Queue&);
void run(const Fill&, Queue&);
void run(const AddInto&, Queue&);
}  // namespace cuda
namespace simt {
void run(const SetZero&, Queue&);
void run(const Fill&, Queue&);
void run(const AddInto&, Queue&);
}  // namespace simt

}  // namespace scrawl
