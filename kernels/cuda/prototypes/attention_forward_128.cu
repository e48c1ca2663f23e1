// Prototype attention forward in bf16 for rows of 128 values.  There is little to compute, a few keys for
// many queries, so that the kernel should keep memory busy:
//   - Blocks stay for several chunks of 64 queries of an image, and all of them run at once: the list of
//     present prototypes and their gathering are waited for once, while the first queries are on their way
//     and are copied to the right half of y.
//   - Up to 64 keys lie in shared memory (see tiles.cuh).  A warp takes 16 queries of each chunk
//     and waits for no other; scores are in registers as a whole.  The next queries are loaded to the
//     registers that the products of these have freed.
// Products are those of warps (mma.sync): with 16 to 64 keys their instructions take a quarter of the time
// that memory takes at most, and beside it; products of warpgroups, for which queries would go through
// shared memory, would save nothing.
// More keys than 64: as attention/forward_mma.cuh, by the same blocks, since only the device knows their
// number.
// Cost: 2 products; q is read and y is written once.  Limits: rows are aligned to 16 bytes.
#include "kernels/cuda/attention/forward_mma.cuh"
#include "kernels/cuda/attention/row_softmax.cuh"
#include "kernels/cuda/device/elementwise.cuh"
#include "kernels/cuda/prototypes/attention_128.cuh"
#include "kernels/cuda/prototypes/tiles.cuh"

namespace scrawl::SCRAWL_GPU {

namespace {

constexpr int kSize = kPrototypeSize, kBlocks = kSize / 32;  // of 32 columns
constexpr int kQueries = 16 * kPanelWarps;                   // of a block's chunk
constexpr int kResident = kForwardResident<kSize, 1>;

/// A warp's 16 rows, of which the first `count` exist; the others are zeros.
struct Rows {
  RowPacks blocks[kBlocks];

  __device__ __forceinline__ void load(const bf16* rows, int count) {
#pragma unroll
    for (int half = 0; half < 2; ++half)
#pragma unroll
      for (int b = 0; b < kBlocks; ++b)
        blocks[b].packs[half] = load_row_pack(rows + 32 * b, kSize, half, count);
  }
  /// To y.
  __device__ __forceinline__ void store(bf16* rows, int count) const {
#pragma unroll
    for (int half = 0; half < 2; ++half)
#pragma unroll
      for (int b = 0; b < kBlocks; ++b)
        store_row_pack(rows + 32 * b, 2 * kSize, half, count, blocks[b].packs[half]);
  }
};

/// s = queries · keysᵀ.
template <int count>
__device__ __forceinline__ void find_scores(FragmentD (&s)[count], const Rows& queries, const bf16* keys) {
#pragma unroll
  for (int b = 0; b < kBlocks; ++b)
#pragma unroll
    for (int step = 0; step < 2; ++step) {
      const FragmentA a = queries.blocks[b].operand(step);
#pragma unroll
      for (int j = 0; j < count / 2; ++j) {
        const FragmentPairB pair =
            load_pair_transposed(keys + 16 * j * kKeyStride + 32 * b + 16 * step, kKeyStride);
        mma(s[2 * j], a, pair.b[0]);
        mma(s[2 * j + 1], a, pair.b[1]);
      }
    }
}

/// Scores become probabilities, rounded to left operands; returns log Σ exp of the lane's two rows.
template <int count>
__device__ __forceinline__ Floats<2> find_probabilities(FragmentA (&p)[count / 2], FragmentD (&s)[count],
                                                        int keys) {
  leave_out<count <= 2 ? 0 : count / 2>(s, keys);  // fewer keys have less room
  RowSoftmax softmax;
  softmax.take(s, kLog2E);
  softmax.finish();
  Floats<2> log_sum_exp;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const float share = fast_reciprocal(softmax.sum[half]);
    log_sum_exp[half] = (softmax.top[half] * kLog2E + fast_log2(softmax.sum[half])) * kLn2;
#pragma unroll
    for (FragmentD& tile : s) {
      tile.values[2 * half] *= share;
      tile.values[2 * half + 1] *= share;
    }
  }
#pragma unroll
  for (int j = 0; j < count / 2; ++j) p[j] = as_a(s[2 * j], s[2 * j + 1]);
  return log_sum_exp;
}

/// An image's rows in memory.
struct ImageRows {
  const PrototypeAttentionForward& args;
  int64_t first;

  __device__ const bf16* q(int row) const { return static_cast<const bf16*>(args.q) + (first + row) * kSize; }
  __device__ bf16* y(int row) const { return static_cast<bf16*>(args.y) + (first + row) * (2 * kSize); }
  __device__ float* log_sum_exp(int row) const { return args.log_sum_exp + first + row; }
};

/// Stores log Σ exp of 16 queries, of which the first `count` exist.
__device__ __forceinline__ void store_log_sum_exp(float* target, const Floats<2>& log_sum_exp, int count) {
#pragma unroll
  for (int half = 0; half < 2; ++half)
    if (const int row = lane_index() / 4 + 8 * half; lane_index() % 4 == 0 && row < count)
      target[row] = log_sum_exp[half];
}

/// y of the warp's 16 queries of every chunk, from `first` on; `queries` are the first ones.  Without keys,
/// one of zeros takes their place, whose share of y is zero.
template <int padded>
__device__ __forceinline__ void attend_few(const ImageRows& rows, const bf16* tile, int keys, Rows& queries,
                                           int first, int end) {
#pragma unroll 1
  for (; first < end; first += kQueries) {
    const int count = end - first;
    bf16* const y = rows.y(first);
    queries.store(y + kSize, count);
    FragmentD s[padded / 8];
    find_scores(s, queries, tile);
    queries.load(rows.q(first + kQueries), count - kQueries);
    FragmentA p[padded / 16];
    Floats<2> log_sum_exp = find_probabilities(p, s, max(keys, 1));
    if (keys == 0) log_sum_exp = {-kInfinity, -kInfinity};
    store_log_sum_exp(rows.log_sum_exp(first), log_sum_exp, count);
    Rows results;
#pragma unroll
    for (int b = 0; b < kBlocks; ++b) {
      FragmentD o[1][4];
#pragma unroll
      for (int j = 0; j < padded / 16; ++j) add_weighted_keys(o, {p[j]}, tile + 16 * j * kKeyStride + 32 * b);
#pragma unroll
      for (int half = 0; half < 2; ++half) results.blocks[b].packs[half] = result_pack(o[0], half);
    }
    results.store(y, count);
  }
}

/// Blocks of the grid are images × parts of their queries.
__global__ void __launch_bounds__(kPanelThreads, kResident)
    attend_128(const __grid_constant__ PrototypeForwardSource<bf16> source,
               const __grid_constant__ ForwardPlan plan, const __grid_constant__ QueryParts parts) {
  const int part = blockIdx.x % parts.count, image = blockIdx.x / parts.count;
  const int begin = part * parts.queries, end = min(begin + parts.queries, source.args.shape.positions);
  const int first = begin + 16 * warp_index();
  const ImageRows rows{source.args, int64_t{image} * source.args.shape.positions};
  Rows queries;
  queries.load(rows.q(first), end - first);
  int* const list = dynamic_shared<int>();
  bf16* const tile = reinterpret_cast<bf16*>(list + plan.list_entries);
  const int keys = list_keys(source.args, image, list);
  if (keys > kFewKeys) {
#pragma unroll 1
    for (int block = begin / kQueries; block * kQueries < end; ++block) {
      __syncthreads();  // the list has been read, and so have the keys
      attend_block<kSize, 1>(source, plan, image, block);
    }
    return;
  }
  with_padded_keys(keys, [&](auto padded) {
    gather_keys<padded.value, kPanelThreads>(tile, prototypes_of<bf16>(source.args, image), list, keys);
    __syncthreads();
    attend_few<padded.value>(rows, tile, keys, queries, first, end);
  });
}

}  // namespace

bool attend_prototypes_128(const PrototypeAttentionForward& args, Queue& queue) {
  const PrototypeAttentionShape& shape = args.shape;
  if (args.dtype != DType::bf16 || shape.size != kSize || packable(16, {args.q, args.p, args.y}) != 16)
    return false;
  constexpr int64_t kMultiprocessors = 132;
  const int most = shape.prototypes();
  const QueryParts parts(shape.images, shape.positions, kQueries, kResident * kMultiprocessors);
  const ForwardPlan plan{.shares = 1, .list_entries = (most + 3) / 4 * 4};
  const int64_t key_bytes = std::max<int64_t>(KeyPanels<kSize, true>::bytes(most, panel_room(1)),
                                              sizeof(bf16) * kFewKeys * kKeyStride);
  const LaunchShape launch_shape{.name = args.name,
                                 .grid = {shape.images * parts.count},
                                 .block = {kPanelThreads},
                                 .shared_bytes = 4 * plan.list_entries + key_bytes};
  launch(queue, launch_shape, attend_128, PrototypeForwardSource<bf16>{args}, plan, parts);
  return true;
}

}  // namespace scrawl::SCRAWL_GPU
