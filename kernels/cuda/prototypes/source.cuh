#pragma once
// Images and the prototypes of their classes as operands of the attention kernels (see attention/head.cuh):
// one head per image, values are the keys.
#include "kernels/cuda/attention/head.cuh"
#include "kernels/cuda/device/warp.cuh"
#include "kernels/prototype_attention.h"

namespace scrawl::SCRAWL_GPU {

/// Lists the prototypes of present classes in order; returns their number.  All threads of the block call it.
__device__ inline int list_present(const uint8_t* present, int classes, int slots, int* list) {
  auto& count = shared<int, struct PresentCount>();
  if (warp_index() == 0) {
    int found = 0;
    for (int first = 0; first < classes; first += kWarpSize) {
      const int c = first + lane_index();
      const bool here = c < classes && present[c];
      const unsigned votes = __ballot_sync(kFullWarp, here);
      const int place = found + __popc(votes & ((1u << lane_index()) - 1));
      for (int slot = 0; here && slot < slots; ++slot) list[place * slots + slot] = c * slots + slot;
      found += __popc(votes);
    }
    if (lane_index() == 0) count = found * slots;
  }
  __syncthreads();
  return count;
}

/// The prototypes that an image may have.
template <typename T, typename Args>
__device__ __forceinline__ const T* prototypes_of(const Args& args, int64_t image) {
  const PrototypeAttentionShape& shape = args.shape;
  return static_cast<const T*>(args.p) +
         (shape.prototype_sets > 1 ? image * shape.prototypes() * shape.size : 0);
}

/// Lists the prototypes that it has.  All threads of the block call it.
template <typename Args>
__device__ __forceinline__ int list_keys(const Args& args, int64_t image, int* list) {
  const PrototypeAttentionShape& shape = args.shape;
  return list_present(args.present + image * shape.classes, shape.classes, shape.slots, list);
}

/// What forward and backward heads share; rows of `q` are `q_stride` apart.
template <typename Head, typename Args, typename T>
__device__ __forceinline__ Head begin_head(const Args& args, const T* q, int q_stride, int64_t image,
                                           int* list) {
  const PrototypeAttentionShape& shape = args.shape;
  Head head;
  head.q = q + image * shape.positions * q_stride;
  head.q_stride = q_stride;
  head.k = head.v = prototypes_of<T>(args, image);
  head.kv_stride = shape.size;
  head.y_stride = 2 * shape.size;
  head.listed = list;
  head.queries = shape.positions;
  head.keys = list_keys(args, image, list);
  head.size = shape.size;
  return head;
}

template <typename T>
struct PrototypeForwardSource {
  static constexpr bool kKeysAreValues = true;
  PrototypeAttentionForward args;

  __device__ ForwardHead<T> head(int64_t image, int* list) const {
    const int64_t first = image * args.shape.positions;
    auto head = begin_head<ForwardHead<T>>(args, static_cast<const T*>(args.q), args.shape.size, image, list);
    head.y = static_cast<T*>(args.y) + first * head.y_stride;
    head.log_sum_exp = args.log_sum_exp + first;
    head.q_copy = head.y + head.size;
    return head;
  }
};

template <typename T>
struct PrototypeBackwardSource {
  static constexpr bool kKeysAreValues = true;
  PrototypeAttentionBackward args;
  float* means;     // null: not needed
  float* partials;  // of dp [images, parts, prototypes, size]; written where present
  int parts;

  __device__ BackwardHead<T> head(int64_t image, int, int* list) const {
    const int64_t first = image * args.shape.positions;
    const T* const q = static_cast<const T*>(args.y) + args.shape.size;  // in the right half of y
    auto head = begin_head<BackwardHead<T>>(args, q, 2 * args.shape.size, image, list);
    head.y = static_cast<const T*>(args.y) + first * head.y_stride;
    head.dy = static_cast<const T*>(args.dy) + first * head.y_stride;
    head.log_sum_exp = args.log_sum_exp + first;
    if (means) head.mean = means + first;
    head.dq_more = head.dy + head.size;  // the right half of y is q
    head.dq_stride = args.shape.size;
    head.dq = static_cast<T*>(args.dq) + first * head.dq_stride;
    head.accumulate_dq = args.accumulate_dq;
    return head;
  }
  __device__ KeyTargets<T> key_targets(int64_t image, int part) const {
    KeyTargets<T> targets;
    targets.dk_partial = partials + (image * parts + part) * args.shape.prototypes() * args.shape.size;
    return targets;
  }
};

}  // namespace scrawl::SCRAWL_GPU
