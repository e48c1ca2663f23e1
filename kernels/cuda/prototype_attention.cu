// Pixels attend to the prototypes of the classes in their image, by the attention kernels (see
// attention_*.cuh): one head per image, values are the keys, scores are not scaled.  Every block lists the
// prototypes that its image may use, so that work is proportional to those and nothing waits for the host.
// dP sums over the parts of an image's positions, and over images where these share a bank: partial sums by
// prototype, added in order by a second launch that skips what is absent.
// Limits: bf16 on tensor cores for sizes that are multiples of 8 up to 128; other sizes up to 512 by
// multiply-adds.  Beyond 128 present prototypes, dq in bf16 is rounded once for each 128.
#include "kernels/prototype_attention.h"

#include "kernels/cuda/attention_fma.cuh"
#include "kernels/cuda/attention_mma_backward.cuh"
#include "kernels/cuda/attention_mma_forward.cuh"
#include "kernels/cuda/device/columns.cuh"
#include "kernels/cuda/device/elementwise.cuh"
#include "kernels/cuda/device/storage.cuh"

namespace scrawl::SCRAWL_GPU {

namespace {

/// Lists the prototypes of present classes in order; returns their number.  All threads of the block call it.
__device__ int list_present(const uint8_t* present, int classes, int slots, int* list) {
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

/// What forward and backward heads share; rows of `q` are `q_stride` apart.
template <typename Head, typename Args, typename T>
__device__ Head begin_head(const Args& args, const T* q, int q_stride, int64_t image, int* list) {
  const PrototypeAttentionShape& shape = args.shape;
  Head head;
  head.q = q + image * shape.positions * q_stride;
  head.q_stride = q_stride;
  head.k = static_cast<const T*>(args.p);
  if (shape.prototype_sets > 1) head.k += image * shape.prototypes() * shape.size;
  head.v = head.k;
  head.kv_stride = shape.size;
  head.y_stride = 2 * shape.size;
  head.listed = list;
  head.queries = shape.positions;
  head.keys = list_present(args.present + image * shape.classes, shape.classes, shape.slots, list);
  head.size = shape.size;
  return head;
}

template <typename T>
struct ForwardSource {
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
struct BackwardSource {
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

/// dp (+)= the sum over images that share a set, and parts.  A row of blocks for each prototype: those of
/// absent classes have next to nothing to do.
template <typename T, int width>
__global__ void __launch_bounds__(kColumnThreads)
    add_parts(PrototypeAttentionBackward args, const float* partials, int parts) {
  const PrototypeAttentionShape& shape = args.shape;
  const int prototypes = shape.prototypes(), prototype = static_cast<int>(blockIdx.x % prototypes);
  const int64_t column = my_column<width>(), set = blockIdx.x / prototypes;
  const bool exists = column < shape.size;
  const int64_t images = shape.prototype_sets == 1 ? shape.images : 1;
  const uint8_t* const present = args.present + set * shape.classes + prototype / shape.slots;
  const float* const part_sums = partials + (set * parts * prototypes + prototype) * shape.size + column;
  Floats<width> total{};
#pragma unroll 4
  for (int part = static_cast<int>(threadIdx.y); part < images * parts; part += blockDim.y) {
    if (!exists || !present[part / parts * shape.classes]) continue;
    add_stored(total, part_sums + int64_t{part} * prototypes * shape.size);
  }
  add_over_groups(total);
  if (threadIdx.y > 0 || !exists) return;
  T* const dp = static_cast<T*>(args.dp) + int64_t{blockIdx.x} * shape.size + column;
  if (args.accumulate_dp) add_stored(total, dp);
  store<width>(dp, total);
}

bool aligned(std::initializer_list<const void*> pointers) {
  return packable(16, pointers) == 16;
}

}  // namespace

void run(const PrototypeAttentionForward& args, Queue& queue) {
  const PrototypeAttentionShape& shape = args.shape;
  const int most = shape.prototypes();
  if (args.dtype == DType::bf16 && fits_fragments(shape.size) && aligned({args.q, args.p, args.y}))
    return launch_attend_mma(queue, args.name, ForwardSource<bf16>{args}, shape.images, shape.positions, most,
                             shape.size, most);
  with_storage(args.dtype, args.name, [&]<typename T>(Storage<T>) {
    launch_attend_fma<T>(queue, args.name, ForwardSource<T>{args}, shape.images, shape.positions, shape.size,
                         most);
  });
}

void run(const PrototypeAttentionBackward& args, Queue& queue) {
  const PrototypeAttentionShape& shape = args.shape;
  const int most = shape.prototypes();
  const bool mma = args.dtype == DType::bf16 && fits_fragments(shape.size) &&
                   aligned({args.p, args.y, args.dy, args.dq}) &&
                   backward_shared_bytes(shape.size, true, most) <= shared_memory_limit(queue);
  const QueryParts parts(shape.images, shape.positions, kFmaTile);
  const int64_t means = mma ? 0 : ceil_div(shape.images * shape.positions, 4) * 4;
  const Scratch scratch = queue.scratch(means + shape.images * parts.count * most * shape.size);
  float* const partials = scratch.data() + means;
  with_storage(args.dtype, args.name, [&]<typename T>(Storage<T>) {
    const BackwardSource<T> source{args, mma ? nullptr : scratch.data(), partials, parts.count};
    if constexpr (std::is_same_v<T, bf16>)
      if (mma)
        launch_attend_backward_mma(queue, args.name, source, shape.images, {parts, 1}, shape.size, most);
    if (!mma)
      launch_attend_backward_fma<T>(queue, args.name, source, shape.images, shape.positions, most, parts,
                                    shape.size, most);
    with_pack_width<float>(packable(shape.size, {args.dp}), [&](auto width) {
      const ColumnBlock block(ceil_div(shape.size, width), /*most_lanes=*/16);
      launch(queue, block.shape(args.name, shape.prototype_sets * most), add_parts<T, width>, args, partials,
             parts.count);
    });
  });
}

}  // namespace scrawl::SCRAWL_GPU
