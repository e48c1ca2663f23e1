#pragma once
// The heads of efficient self-attention as operands of its kernels.
#include "kernels/attention.h"
#include "kernels/cuda/attention/copies.cuh"
#include "kernels/cuda/attention/head.cuh"

namespace scrawl::SCRAWL_GPU {

template <typename T>
struct ForwardSource {
  static constexpr bool kKeysAreValues = false;
  AttentionForward args;
  float scale;

  __device__ ForwardHead<T> head(unsigned index, int*) const {  // 32 bits: divisions of 64 take longer
    const AttentionShape& shape = args.shape;
    const unsigned heads = shape.heads;
    const int64_t image = index / heads, first = index % heads * int64_t{shape.head_size};
    const int64_t stride = int64_t{shape.heads} * shape.head_size;
    ForwardHead<T> head;
    head.q = static_cast<const T*>(args.q) + image * shape.queries * stride + first;
    head.k = static_cast<const T*>(args.kv) + image * shape.keys * 2 * stride + first;
    head.v = head.k + stride;
    head.q_stride = head.y_stride = static_cast<int>(stride);
    head.kv_stride = 2 * head.q_stride;
    head.queries = shape.queries;
    head.keys = shape.keys;
    head.size = shape.head_size;
    head.scale = scale;
    head.y = static_cast<T*>(args.y) + image * shape.queries * stride + first;
    head.log_sum_exp = args.log_sum_exp + int64_t{index} * shape.queries;
    return head;
  }
};

template <typename T>
struct BackwardSource {
  static constexpr bool kKeysAreValues = false;
  AttentionBackward args;
  float scale;
  float* means;         // null: not needed
  float* dq_partials;   // [blocks of keys] copies of dq; null: blocks write dq
  float* dkv_partials;  // [parts of queries] copies of dkv; null: blocks write dkv

  __device__ BackwardHead<T> head(int64_t index, int key_block, int*) const {
    const AttentionShape& shape = args.shape;
    const int64_t image = index / shape.heads, first = index % shape.heads * shape.head_size;
    const int64_t stride = int64_t{shape.heads} * shape.head_size;
    const int64_t query = image * shape.queries * stride + first;
    const int64_t key = image * shape.keys * 2 * stride + first;
    BackwardHead<T> head;
    head.q = static_cast<const T*>(args.q) + query;
    head.k = static_cast<const T*>(args.kv) + key;
    head.v = head.k + stride;
    head.q_stride = head.dq_stride = head.y_stride = static_cast<int>(stride);
    head.kv_stride = 2 * head.q_stride;
    head.queries = shape.queries;
    head.keys = shape.keys;
    head.size = shape.head_size;
    head.scale = scale;
    head.y = static_cast<const T*>(args.y) + query;
    head.dy = static_cast<const T*>(args.dy) + query;
    head.log_sum_exp = args.log_sum_exp + index * shape.queries;
    if (means) head.mean = means + index * shape.queries;
    head.dq = static_cast<T*>(args.dq) + query;
    head.accumulate_dq = args.accumulate_dq;
    if (dq_partials) head.dq_partial = dq_partials + key_block * copy_stride(shape.query_elements()) + query;
    return head;
  }
  __device__ KeyTargets<T> key_targets(int64_t index, int part) const {
    const AttentionShape& shape = args.shape;
    const int64_t stride = int64_t{shape.heads} * shape.head_size;
    const int64_t first = index % shape.heads * shape.head_size;
    const int64_t key = index / shape.heads * shape.keys * 2 * stride + first;
    KeyTargets<T> targets;
    targets.accumulate = args.accumulate_dkv;
    targets.dk = static_cast<T*>(args.dkv) + key;
    targets.dv = targets.dk + stride;
    if (dkv_partials) {
      targets.dk_partial = dkv_partials + part * copy_stride(shape.key_elements()) + key;
      targets.dv_partial = targets.dk_partial + stride;
    }
    return targets;
  }
};

}  // namespace scrawl::SCRAWL_GPU
