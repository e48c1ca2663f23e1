#pragma once
#include <string_view>

#include "kernels/cost.h"
#include "kernels/dtype.h"
#include "kernels/queue.h"

namespace scrawl {

/// Efficient self-attention (SegFormer, section 3.1): many queries, few keys, since keys and values come from
/// a spatially reduced map.  Layouts: q, y [images, queries, heads·head_size]; kv [images, keys, 2·heads·
/// head_size] with all keys of a row ahead of all its values; log_sum_exp [images, heads, queries].
struct AttentionShape {
  int64_t images = 0;
  int queries = 0, keys = 0, heads = 0, head_size = 0;
  constexpr int channels() const { return heads * head_size; }
  constexpr int64_t query_elements() const { return images * queries * channels(); }
  constexpr int64_t key_elements() const { return images * keys * 2 * channels(); }
};

/// y = softmax(q kᵀ / √head_size) v for every head.
struct AttentionForward {
  static constexpr std::string_view name = "attention.forward";
  DType dtype = DType::f32;
  AttentionShape shape;
  const void* q = nullptr;
  const void* kv = nullptr;
  void* y = nullptr;
  float* log_sum_exp = nullptr;
  Cost cost() const {
    return {(2 * shape.query_elements() + shape.key_elements()) * size_of(dtype),
            4 * shape.query_elements() * shape.keys};
  }
};

/// dq, dkv (+)= the gradients.  Probabilities are recomputed from log_sum_exp.
struct AttentionBackward {
  static constexpr std::string_view name = "attention.backward";
  DType dtype = DType::f32;
  AttentionShape shape;
  const void* q = nullptr;
  const void* kv = nullptr;
  const void* y = nullptr;
  const float* log_sum_exp = nullptr;
  const void* dy = nullptr;
  void* dq = nullptr;
  void* dkv = nullptr;
  bool accumulate_dq = false;
  bool accumulate_dkv = false;
  Cost cost() const {
    return {(4 * shape.query_elements() + 2 * shape.key_elements()) * size_of(dtype),
            10 * shape.query_elements() * shape.keys};
  }
};

namespace cpu {
void run(const AttentionForward&, Queue&);
void run(const AttentionBackward&, Queue&);
}  // namespace cpu
namespace cuda {
void run(const AttentionForward&, Queue&);
void run(const AttentionBackward&, Queue&);
}  // namespace cuda
namespace simt {
void run(const AttentionForward&, Queue&);
void run(const AttentionBackward&, Queue&);
}  // namespace simt

}  // namespace scrawl
