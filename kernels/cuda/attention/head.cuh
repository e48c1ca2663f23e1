#pragma once
// What the attention kernels of this folder have in common: the operands of one head of one image, which a
// source (efficient self-attention, or pixels that attend to prototypes) hands to a block.  Queries have one
// row stride, so have keys and values; if kKeysAreValues of the source holds, there are only keys.
#include <algorithm>
#include <cstdint>

#include "kernels/cuda/device/launch.cuh"
#include "kernels/cuda/device/thread.cuh"

namespace scrawl::SCRAWL_GPU {

inline constexpr int kAttentionThreads = 256;

template <typename T>
struct AttentionRows {
  const T *q = nullptr, *k = nullptr, *v = nullptr;
  int q_stride = 0, kv_stride = 0;
  const int* listed = nullptr;  // key j lies in row listed[j]; null: in row j
  int queries = 0, keys = 0, size = 0;
  float scale = 1.0f;

  __device__ int row_of_key(int j) const { return listed ? listed[j] : j; }
};

template <typename T>
struct ForwardHead : AttentionRows<T> {
  T* y = nullptr;
  int y_stride = 0;
  float* log_sum_exp = nullptr;
  T* q_copy = nullptr;  // where queries are to be copied, rows y_stride apart; may be null
};

template <typename T>
struct BackwardHead : AttentionRows<T> {
  const T *y = nullptr, *dy = nullptr;  // rows y_stride apart
  int y_stride = 0;
  const float* log_sum_exp = nullptr;
  float* mean = nullptr;       // scratch of the multiply-add kernels: the mean of dP under P, for every query
  const T* dq_more = nullptr;  // if not null, is added to dq, rows y_stride apart; only where keys are values
  T* dq = nullptr;
  int dq_stride = 0;
  bool accumulate_dq = false;
  float* dq_partial = nullptr;  // if not null, takes this block of keys' share of dq instead
};

/// Where a block leaves gradients of keys and values, rows kv_stride apart.
template <typename T>
struct KeyTargets {
  T *dk = nullptr, *dv = nullptr;
  bool accumulate = false;
  float *dk_partial = nullptr, *dv_partial = nullptr;  // if not null, take this part's sums instead
};

/// Blocks that fill a large GPU once, of kernels of which two share a multiprocessor.
inline constexpr int64_t kMmaBlocks = 256;

/// How the queries of a head are cut into parts whose dk and dv are summed separately, in whole chunks, from
/// sizes alone: enough to fill a large GPU once, which takes `blocks`.
struct QueryParts {
  int count = 1, queries = 1;  // of all parts but the last
  QueryParts(int64_t heads, int all_queries, int chunk, int64_t blocks = kMmaBlocks) {
    const int64_t wanted = std::max<int64_t>(1, blocks / std::max<int64_t>(1, heads));
    queries = static_cast<int>(ceil_div(std::max<int64_t>(1, ceil_div(all_queries, wanted)), chunk) * chunk);
    count = static_cast<int>(std::max<int64_t>(1, ceil_div(all_queries, queries)));
  }
};

/// How backward kernels on tensor cores cut their work into blocks.
inline constexpr int kBlockKeys = 128;
struct BackwardPlan {
  QueryParts parts;
  int key_blocks = 1;  // that the grid has; a block takes every key_blocks-th block of keys
};
/// What a block of the grid works on: a part of the queries, and the first block of keys, of a head.
struct BackwardPlace {
  int part, key_block;
  int64_t head;

  __device__ explicit BackwardPlace(const BackwardPlan& plan)
      : part(static_cast<int>(blockIdx.x % plan.parts.count)),
        key_block(static_cast<int>(blockIdx.x / plan.parts.count % plan.key_blocks)),
        head(blockIdx.x / plan.parts.count / plan.key_blocks) {}
};

/// How much shared memory a block should ask for at most: no more than data center GPUs since 2020 have.
template <typename AnyQueue>
int64_t shared_memory_limit(const AnyQueue& queue) {
  constexpr int64_t kMost = 160 * 1024;
  if constexpr (requires { queue.shared_bytes_limit(); })
    return std::min<int64_t>(kMost, queue.shared_bytes_limit());
  else
    return kMost;
}

}  // namespace scrawl::SCRAWL_GPU
