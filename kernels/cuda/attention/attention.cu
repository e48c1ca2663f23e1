// Efficient self-attention: heads and images handed to the kernels of attention_mma_*.cuh (bf16, head sizes
// that are multiples of 8), forward_wgmma.cu and backward_wgmma.cu (such heads of 64 values, on
// Hopper) or fma.cuh (the rest), and the sums of what their blocks leave.
#include "kernels/attention.h"

#include <cmath>

#include "kernels/cuda/attention/backward_mma.cuh"
#include "kernels/cuda/attention/copies.cuh"
#include "kernels/cuda/attention/fma.cuh"
#include "kernels/cuda/attention/forward_mma.cuh"
#include "kernels/cuda/attention/source.cuh"
#include "kernels/cuda/attention/wgmma.cuh"

namespace scrawl::SCRAWL_GPU {

namespace {

float scale_of(const AttentionShape& shape) {
  return 1.0f / std::sqrt(static_cast<float>(shape.head_size));
}

bool aligned(std::initializer_list<const void*> pointers) {
  return packable(16, pointers) == 16;
}

}  // namespace

void run(const AttentionForward& args, Queue& queue) {
  const AttentionShape& shape = args.shape;
  const int64_t heads = shape.images * shape.heads;
  if (args.dtype == DType::bf16 && fits_fragments(shape.head_size) && aligned({args.q, args.kv, args.y})) {
    const ForwardSource<bf16> source{args, scale_of(shape)};
    if (shape.queries > 0 && shape.keys > 0 && fits_wgmma(shape.head_size, queue.compute_capability()))
      return launch_attend_wgmma(queue, args.name, source, heads, shape.keys,
                                 forward_blocks(heads, shape.queries, shape.keys));
    return launch_attend_mma(queue, args.name, source, heads, shape.queries, shape.keys, shape.head_size, 0);
  }
  with_storage(args.dtype, args.name, [&]<typename T>(Storage<T>) {
    launch_attend_fma<T>(queue, args.name, ForwardSource<T>{args, scale_of(shape)}, heads, shape.queries,
                         shape.head_size, 0);
  });
}

void run(const AttentionBackward& args, Queue& queue) {
  const AttentionShape& shape = args.shape;
  const int64_t heads = shape.images * shape.heads;
  const bool mma = args.dtype == DType::bf16 && fits_fragments(shape.head_size) &&
                   aligned({args.q, args.kv, args.y, args.dy, args.dq, args.dkv}) &&
                   backward_shared_bytes(shape.head_size, false, 0) <= shared_memory_limit(queue);
  const int block_keys = mma ? kBlockKeys : kFmaTile;
  const int blocks = static_cast<int>(ceil_div(shape.keys, block_keys));
  const bool wgmma = mma && fits_wgmma(shape.head_size, queue.compute_capability());
  const QueryParts parts(heads * blocks, shape.queries, kFmaTile, wgmma ? kWgmmaBlocks : kMmaBlocks);
  const int dq_copies = mma && blocks > 1 ? blocks : 0, dkv_copies = parts.count > 1 ? parts.count : 0;
  const int64_t means = mma ? 0 : copy_stride(heads * shape.queries);
  const int64_t dq_floats = dq_copies * copy_stride(shape.query_elements());
  const Scratch scratch = queue.scratch(means + dq_floats + dkv_copies * copy_stride(shape.key_elements()));
  float* const query_means = mma ? nullptr : scratch.data();
  float* const dq_partials = dq_copies ? scratch.data() + means : nullptr;
  float* const dkv_partials = dkv_copies ? scratch.data() + means + dq_floats : nullptr;
  with_storage(args.dtype, args.name, [&]<typename T>(Storage<T>) {
    const BackwardSource<T> source{args, scale_of(shape), query_means, dq_partials, dkv_partials};
    if constexpr (std::is_same_v<T, bf16>) {
      if (wgmma)
        launch_attend_backward_wgmma(queue, args.name, source, heads, {parts, blocks});
      else if (mma)
        launch_attend_backward_mma(queue, args.name, source, heads, {parts, blocks}, shape.head_size, 0);
    }
    if (!mma)
      launch_attend_backward_fma<T>(queue, args.name, source, heads, shape.queries, shape.keys, parts,
                                    shape.head_size, 0);
    launch_add_copies<T>(
        queue, args.name,
        {dq_partials, dq_copies, shape.query_elements(), static_cast<T*>(args.dq), args.accumulate_dq},
        {dkv_partials, dkv_copies, shape.key_elements(), static_cast<T*>(args.dkv), args.accumulate_dkv});
  });
}

}  // namespace scrawl::SCRAWL_GPU
