#pragma once
#include <string_view>

#include "kernels/cost.h"
#include "kernels/dtype.h"
#include "kernels/queue.h"
#include "kernels/step_state.h"

namespace scrawl {

/// Stochastic depth of one residual branch: with probability `rate` a sample's branch is dropped, else it is
/// scaled by 1/(1 − rate).  Rate 0 draws nothing.
struct DropPath {
  float rate = 0.0f;
  RandomStream random;
  constexpr float scale(uint32_t image) const {
    if (rate == 0.0f) return 1.0f;
    return random.uniform_at(image) < 1.0f - rate ? 1.0f / (1.0f - rate) : 0.0f;
  }
};

/// y = x + drop_path(branch), over `images` samples of `elements` values each.
struct ResidualForward {
  static constexpr std::string_view name = "residual.forward";
  DType dtype = DType::f32;
  const void* x = nullptr;
  const void* branch = nullptr;
  void* y = nullptr;
  int64_t images = 0, elements = 0;
  DropPath drop_path;
  Cost cost() const { return {3 * images * elements * size_of(dtype), 2 * images * elements}; }
};

/// dbranch (+)= dy · scale of the sample.  (The gradient of x is dy itself.)
struct ResidualBackward {
  static constexpr std::string_view name = "residual.backward";
  DType dtype = DType::f32;
  const void* dy = nullptr;
  void* dbranch = nullptr;
  int64_t images = 0, elements = 0;
  DropPath drop_path;
  bool accumulate = false;
  Cost cost() const { return {(accumulate ? 3 : 2) * images * elements * size_of(dtype), images * elements}; }
};

namespace cpu {
void run(const ResidualForward&, Queue&);
void run(const ResidualBackward&, Queue&);
}  // namespace cpu
namespace cuda {
void run(const ResidualForward&, Queue&);
void run(const ResidualBackward&, Queue&);
}  // namespace cuda
namespace simt {
void run(const ResidualForward&, Queue&);
void run(const ResidualBackward&, Queue&);
}  // namespace simt

}  // namespace scrawl
