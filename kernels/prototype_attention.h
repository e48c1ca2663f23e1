#pragma once
#include <string_view>

#include "kernels/cost.h"
#include "kernels/dtype.h"
#include "kernels/queue.h"

namespace scrawl {

/// Every pixel attends to the prototypes of the classes present in its image; keys are the values too, and
/// scores are not scaled.  q [images, positions, size]; p [prototype_sets, classes·slots, size] with
/// prototype_sets = images (each its own) or 1 (a bank that all share); present [images, classes].
struct PrototypeAttentionShape {
  int64_t images = 0, prototype_sets = 0;
  int positions = 0, size = 0;
  int classes = 0, slots = 1;
  constexpr int prototypes() const { return classes * slots; }
  constexpr int64_t query_elements() const { return images * positions * size; }
};

/// y [images, positions, 2·size] = [softmax(q pᵀ) p | q] over present prototypes; zeros for the left half of
/// an image without any.  log_sum_exp [images, positions].
struct PrototypeAttentionForward {
  static constexpr std::string_view name = "prototype_attention.forward";
  DType dtype = DType::f32;
  PrototypeAttentionShape shape;
  const void* q = nullptr;
  const void* p = nullptr;
  const uint8_t* present = nullptr;
  void* y = nullptr;
  float* log_sum_exp = nullptr;
  Cost cost() const {
    return {3 * shape.query_elements() * size_of(dtype), 4 * shape.query_elements() * shape.prototypes()};
  }
};

/// dq, dp (+)= the gradients; probabilities are recomputed from log_sum_exp, and q is read from y.
struct PrototypeAttentionBackward {
  static constexpr std::string_view name = "prototype_attention.backward";
  DType dtype = DType::f32;
  PrototypeAttentionShape shape;
  const void* p = nullptr;
  const uint8_t* present = nullptr;
  const void* y = nullptr;
  const float* log_sum_exp = nullptr;
  const void* dy = nullptr;
  void* dq = nullptr;
  void* dp = nullptr;
  bool accumulate_dq = false;
  bool accumulate_dp = false;
  Cost cost() const {
    return {5 * shape.query_elements() * size_of(dtype), 10 * shape.query_elements() * shape.prototypes()};
  }
};

namespace cpu {
void run(const PrototypeAttentionForward&, Queue&);
void run(const PrototypeAttentionBackward&, Queue&);
}  // namespace cpu
namespace cuda {
void run(const PrototypeAttentionForward&, Queue&);
void run(const PrototypeAttentionBackward&, Queue&);
}  // namespace cuda
namespace simt {
void run(const PrototypeAttentionForward&, Queue&);
void run(const PrototypeAttentionBackward&, Queue&);
}  // namespace simt

}  // namespace scrawl
