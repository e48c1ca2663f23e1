#pragma once
#include <string_view>

#include "kernels/cost.h"
#include "kernels/dtype.h"
#include "kernels/queue.h"

namespace scrawl {

/// loss[0] = mean over positions of the cross-entropy that takes softmax(a) *as logits* against the target
/// softmax(b): −Σ_k softmax(b)_k · log softmax(softmax(a))_k.  a, b [positions, classes].
struct ConsistencyForward {
  static constexpr std::string_view name = "consistency.forward";
  DType dtype = DType::f32;
  const void* a = nullptr;
  const void* b = nullptr;
  float* loss = nullptr;
  int64_t positions = 0;
  int classes = 0;
  Cost cost() const { return {2 * positions * classes * size_of(dtype), 12 * positions * classes}; }
};

/// da, db (+)= dloss · gradient; both sides learn.  Either may be null.
struct ConsistencyBackward {
  static constexpr std::string_view name = "consistency.backward";
  DType dtype = DType::f32;
  const void* a = nullptr;
  const void* b = nullptr;
  float dloss = 1.0f;
  void* da = nullptr;
  void* db = nullptr;
  int64_t positions = 0;
  int classes = 0;
  bool accumulate_da = false;
  bool accumulate_db = false;
  Cost cost() const { return {4 * positions * classes * size_of(dtype), 24 * positions * classes}; }
};

namespace cpu {
void run(const ConsistencyForward&, Queue&);
void run(const ConsistencyBackward&, Queue&);
}  // namespace cpu
namespace cuda {
void run(const ConsistencyForward&, Queue&);
void run(const ConsistencyBackward&, Queue&);
}  // namespace cuda
namespace simt {
void run(const ConsistencyForward&, Queue&);
void run(const ConsistencyBackward&, Queue&);
}  // namespace simt

}  // namespace scrawl
