// Pixels attend to the prototypes of the classes in their image.  Every block lists the prototypes that its
// image may use, so that work is proportional to those and nothing waits for the host.  Rows of 128 values in
// bf16 have kernels of their own (prototype_attention_*_128.cu); others take the attention kernels (see
// attention_*.cuh): one head per image, values are the keys, scores are not scaled.
// dP sums over the parts of an image's positions, and over images where these share a bank: partial sums by
// prototype, added in order by a second launch that skips what is absent.
// Limits: bf16 on tensor cores for sizes that are multiples of 8 up to 128; other sizes up to 512 by
// multiply-adds.  Beyond 128 present prototypes, dq in bf16 is rounded once for each 128.
#include "kernels/prototype_attention.h"

#include "kernels/cuda/attention/backward_mma.cuh"
#include "kernels/cuda/attention/fma.cuh"
#include "kernels/cuda/attention/forward_mma.cuh"
#include "kernels/cuda/device/columns.cuh"
#include "kernels/cuda/device/elementwise.cuh"
#include "kernels/cuda/device/storage.cuh"
#include "kernels/cuda/prototypes/attention_128.cuh"

namespace scrawl::SCRAWL_GPU {

namespace {

/// dp (+)= the sum over images that share a set, and parts.  Rows of blocks for each prototype: those of
/// absent classes have next to nothing to do.
template <typename T, int width>
__global__ void __launch_bounds__(kColumnThreads)
    add_parts(PrototypeAttentionBackward args, const float* partials, int parts) {
  constexpr int kAtOnce = 8;  // of a thread's parts: waiting for them is most of the work
  const PrototypeAttentionShape& shape = args.shape;
  const int prototypes = shape.prototypes(), prototype = static_cast<int>(blockIdx.x % prototypes);
  const int64_t column = my_column<width>(), set = blockIdx.x / prototypes;
  const bool exists = column < shape.size;
  const int all = static_cast<int>(shape.prototype_sets == 1 ? shape.images : 1) * parts;
  const uint8_t* const present = args.present + set * shape.classes + prototype / shape.slots;
  const float* const part_sums = partials + (set * parts * prototypes + prototype) * shape.size + column;
  Floats<width> total{};
  for (int first = static_cast<int>(threadIdx.y); first < all; first += kAtOnce * blockDim.y) {
    bool here[kAtOnce];
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      const int part = first + i * static_cast<int>(blockDim.y);
      here[i] = exists && part < all && present[int64_t{part / parts} * shape.classes];
    }
    Pack<float, width> packs[kAtOnce];
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      const int64_t part = first + i * static_cast<int>(blockDim.y);
      packs[i] =
          here[i] ? load_pack<width>(part_sums + part * prototypes * shape.size) : Pack<float, width>{};
    }
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i)
#pragma unroll
      for (int j = 0; j < width; ++j) total[j] += packs[i][j];
  }
  add_over_groups(total);
  if (threadIdx.y > 0 || !exists) return;
  T* const dp = static_cast<T*>(args.dp) + int64_t{blockIdx.x} * shape.size + column;
  if (args.accumulate_dp) add_stored(total, dp);
  store<width>(dp, total);
}

template <typename T>
void launch_add_parts(const PrototypeAttentionBackward& args, const float* partials, int parts,
                      Queue& queue) {
  const PrototypeAttentionShape& shape = args.shape;
  const int64_t rows = shape.prototype_sets * shape.prototypes();
  // Images that share a set have many parts to add: fewer lanes leave more threads for them.
  const int most_lanes = shape.prototype_sets == 1 ? 8 : 16;
  with_pack_width<float>(packable(shape.size, {args.dp}), [&](auto width) {
    const ColumnBlock block(ceil_div(shape.size, width), most_lanes);
    launch(queue, block.shape(args.name, rows), add_parts<T, width>, args, partials, parts);
  });
}

bool aligned(std::initializer_list<const void*> pointers) {
  return packable(16, pointers) == 16;
}

}  // namespace

void run(const PrototypeAttentionForward& args, Queue& queue) {
  const PrototypeAttentionShape& shape = args.shape;
  const int most = shape.prototypes();
  if (attend_prototypes_128(args, queue)) return;
  if (args.dtype == DType::bf16 && fits_fragments(shape.size) && aligned({args.q, args.p, args.y}))
    return launch_attend_mma(queue, args.name, PrototypeForwardSource<bf16>{args}, shape.images,
                             shape.positions, most, shape.size, most);
  with_storage(args.dtype, args.name, [&]<typename T>(Storage<T>) {
    launch_attend_fma<T>(queue, args.name, PrototypeForwardSource<T>{args}, shape.images, shape.positions,
                         shape.size, most);
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
    const PrototypeBackwardSource<T> source{args, mma ? nullptr : scratch.data(), partials, parts.count};
    if constexpr (std::is_same_v<T, bf16>)
      if (mma && !attend_prototypes_backward_128(source, parts, queue))
        launch_attend_backward_mma(queue, args.name, source, shape.images, {parts, 1}, shape.size, most);
    if (!mma)
      launch_attend_backward_fma<T>(queue, args.name, source, shape.images, shape.positions, most, parts,
                                    shape.size, most);
    launch_add_parts<T>(args, partials, parts.count, queue);
  });
}

}  // namespace scrawl::SCRAWL_GPU
