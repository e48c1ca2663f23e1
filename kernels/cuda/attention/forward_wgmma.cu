// Attention forward in bf16 for heads of 64 values on the tensor cores of compute capability 9.0.  A
// warpgroup takes chunks of 64 queries:
//   1. S = Q Kᵀ.
//   2. P = exp(S − its rows' maxima) in registers, the left operand of
//   3. O = P V, of which y are the rows divided by the sums of those of P.
// Where scores of all keys fit into registers, a block keeps keys and values in shared memory, and its
// warpgroups walk over chunks without waiting for each other; the next chunk is on its way meanwhile.  More
// keys come in panels, two of which are on their way, with a running maximum and sum; the block's warpgroups
// have a chunk each, and the products of a panel's probabilities run beside the exponentials of the next.
// Cost: 2 products; every block reads K and V from the second-level cache.  Limits: an image's queries and
// keys are less than 2³¹ values.
#include <algorithm>
#include <limits>

#include "kernels/cuda/attention/row_softmax.cuh"
#include "kernels/cuda/attention/tiles.cuh"
#include "kernels/cuda/attention/wgmma.cuh"
#include "kernels/cuda/device/math.cuh"

namespace scrawl::SCRAWL_GPU {

namespace {

constexpr int kSize = kTileColumns, kQueries = 64;
/// Warpgroups of a block, by registers: of kernels for few keys, and of those for many.
constexpr int kFewGroups = 5, kManyGroups = 4;
constexpr int kFewTiles = kFewKeys / 8;             // of 8 keys, whose scores are in registers
constexpr int kFewRows = (kFewTiles + 1) / 2 * 16;  // products take 16 values at a time
constexpr int kBuffers = 4;  // of panels: one computed with, one still read by products, two on their way

struct alignas(1024) FewShared {
  bf16 k[kFewRows * kSize], v[kFewRows * kSize];
  ForwardHead<bf16> head;                              // here, since registers are scarce
  alignas(1024) bf16 q[kFewGroups][kQueries * kSize];  // last: blocks of fewer warpgroups have less
};

/// `tiles`: of 8 keys in a panel.
template <int tiles>
struct alignas(1024) ManyShared {
  bf16 k[kBuffers][8 * tiles * kSize], v[kBuffers][8 * tiles * kSize];
  ForwardHead<bf16> head;
  alignas(1024) bf16 q[kManyGroups][kQueries * kSize];
};

/// Starts copies of keys from `first` on, and of their values, to the first `rows` rows of two tiles; those
/// that do not exist become zeros.  All threads of the block call it.
__device__ __forceinline__ void copy_panel(bf16* k, bf16* v, int rows, const ForwardHead<bf16>& head,
                                           int first) {
  const int column = threadIdx.x % kTilePacks * 8, step = blockDim.x / kTilePacks;
  const int left = head.keys - first, stride = head.kv_stride;
  int row = threadIdx.x / kTilePacks;
  const int from = (first + row) * stride + column, to = tile_offset(row, column);
  const bf16 *key = head.k + from, *value = head.v + from;
  for (k += to, v += to; row < rows; row += step) {
    copy_async<16>(k, key, row < left);
    copy_async<16>(v, value, row < left);
    k += step * kSize;
    v += step * kSize;
    key += step * stride;
    value += step * stride;
  }
}

/// Starts copies of all keys or, with columns `swapped`, of all values: of 16 pairs, 4 a + b goes to place
/// 4 b + a, so that the pairs of results that a lane gets are neighbours in y, by fours.
template <bool swapped>
__device__ __forceinline__ void copy_all(bf16* tile, const bf16* source, const ForwardHead<bf16>& head) {
  constexpr int kPiece = swapped ? 2 : 8, kPieces = kSize / kPiece;
  const int piece = threadIdx.x % kPieces, step = blockDim.x / kPieces;
  const int column = swapped ? piece / 16 * 32 + piece % 4 * 8 + piece / 4 % 4 * 2 : piece * 8;
  for (int row = threadIdx.x / kPieces; row < kFewRows; row += step)
    copy_async<kPiece * sizeof(bf16)>(tile + tile_offset(row, column),
                                      source + min(row, head.keys - 1) * head.kv_stride + piece * kPiece,
                                      row < head.keys);
}

/// Starts copies of the warp's 16 rows of the warpgroup's chunk, which begins with query `first`; beyond the
/// last query come more copies of it, whose results nobody stores.
__device__ __forceinline__ void start_queries(bf16* tile, const ForwardHead<bf16>& head, int first) {
  const int column = lane_index() % kTilePacks * 8;
  const bf16* const queries = head.q + column;
  const int stride = head.q_stride, last = head.queries - 1;
#pragma unroll
  for (int i = 0; i < 16; i += kWarpSize / kTilePacks) {
    const int row = warp_index() % 4 * 16 + lane_index() / kTilePacks + i;
    copy_async<16>(tile + tile_offset(row, column), queries + min(first + row, last) * stride);
  }
}

/// y and log Σ exp of the warp's 16 queries from `first` on.  `swapped`: columns of o are as copy_all<true>()
/// has them.
template <bool swapped>
__device__ __forceinline__ void store_result(const ForwardHead<bf16>& head, const FragmentD (&o)[8],
                                             const RowSoftmax& softmax, int first, float log2_scale) {
  const int member = lane_index() % 4, row = first + lane_index() / 4, queries = head.queries;
  const int stride = head.y_stride;
  bf16* const y = head.y + 8 * member;
  float* const log_sum_exp = head.log_sum_exp;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int at = row + 8 * half;
    const float share = fast_reciprocal(softmax.sum[half]);
    if (member == 0 && at < queries)
      log_sum_exp[at] = (softmax.top[half] * log2_scale + fast_log2(softmax.sum[half])) * kLn2;
#pragma unroll
    for (int block = 0; block < 2; ++block) {
      Pack<unsigned, 4> words;
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const float* pair = &o[4 * block + i].values[2 * half];
        words[i] = pack_bf16(pair[0] * share, pair[1] * share);
      }
      if constexpr (!swapped) transpose_in_quad(words);
      if (at < queries) store_pack<4>(reinterpret_cast<unsigned*>(y + at * stride + 32 * block), words);
    }
  }
}

/// Blocks of the grid are heads × `blocks.count`.
__global__ void __launch_bounds__(kFewGroups* kWarpgroupThreads, 1)
    attend_few_keys(ForwardSource<bf16> source, ForwardBlocks blocks) {
  auto& memory = *dynamic_shared<FewShared>();
  const ForwardHead<bf16> made = source.head(blockIdx.x / blocks.count, nullptr);
  if (threadIdx.x == 0) memory.head = made;
  const ForwardHead<bf16>& head = memory.head;
  const float log2_scale = made.scale * kLog2E;
  const int begin = static_cast<int>(blockIdx.x % blocks.count) * blocks.chunks * kQueries;
  const int end = min(begin + blocks.chunks * kQueries, made.queries);
  const int group = warp_index() / 4, warp_row = warp_index() % 4 * 16, step = blocks.groups * kQueries;
  bf16* const queries = memory.q[group];
  const int own = begin + group * kQueries;
  copy_all<false>(memory.k, made.k, made);
  start_queries(queries, made, own);
  commit_copies();
  copy_all<true>(memory.v, made.v, made);
  commit_copies();
  // Waits for the block's copies, but for the newest group of every thread.
  const auto await_block = [] {
    wait_copies<1>();
    show_products();
    __syncthreads();
  };
  RowSoftmax softmax;
  FragmentA p[(kFewTiles + 1) / 2];
  const auto take_scores = [&](int first) {
    __syncwarp();  // the warp's rows have been copied
    const TileRows q(queries, warp_row);
    FragmentD s[kFewTiles];
    fence_products(s);
    start_scores(s, q, tile_operand(memory.k));
    wait_products<0>(s);
    __syncwarp();  // and read
    if (first + step < end) start_queries(queries, head, first + step);
    commit_copies();
    if (head.keys <= 8 * (kFewTiles - 1))
      leave_out<0>(s, head.keys);
    else
      leave_out<kFewTiles - 1>(s, head.keys);
    softmax = {};
    softmax.take(s, log2_scale);
    to_operands(p, s);
  };
  await_block();  // keys and queries
  take_scores(own);
  await_block();  // values
#pragma unroll 1
  for (int first = own; first < end; first += step) {
    FragmentD o[8];
    fence_products(o, p);
    start_sums(o, p, tile_operand(memory.v), false);
    softmax.finish();
    wait_products<0>(o);
    store_result<true>(head, o, softmax, first + warp_row, log2_scale);
    if (first + step >= end) break;
    wait_copies();
    take_scores(first + step);
  }
}

__device__ __forceinline__ int buffer_of(unsigned panel) {
  return panel % kBuffers;
}

template <int tiles>
__device__ __forceinline__ void start_panel(ManyShared<tiles>& memory, const ForwardHead<bf16>& head,
                                            int panel) {
  constexpr int kPanel = 8 * tiles;
  const int buffer = buffer_of(panel);
  if (panel * kPanel < head.keys)
    copy_panel(memory.k[buffer], memory.v[buffer], kPanel, head, panel * kPanel);
  commit_copies();  // an empty group beyond the last panel
}

template <int tiles>
__global__ void __launch_bounds__(kManyGroups* kWarpgroupThreads, 1)
    attend_many_keys(ForwardSource<bf16> source, ForwardBlocks blocks) {
  constexpr int kPanel = 8 * tiles;
  auto& memory = *dynamic_shared<ManyShared<tiles>>();
  const ForwardHead<bf16> made = source.head(blockIdx.x / blocks.count, nullptr);
  if (threadIdx.x == 0) memory.head = made;
  const ForwardHead<bf16>& head = memory.head;
  const float log2_scale = made.scale * kLog2E;
  const int group = warp_index() / 4, warp_row = warp_index() % 4 * 16;
  const int first = (static_cast<int>(blockIdx.x % blocks.count) * blocks.chunks + group) * kQueries;
  start_queries(memory.q[group], made, first);
  start_panel(memory, made, 0);
  start_panel(memory, made, 1);
  // Waits for a panel, and for all to be done with the one that was two before, whose place the next gets.
  const auto await_panel = [&](int panel) {
    wait_copies<1>();
    show_products();
    __syncthreads();
    start_panel(memory, head, panel + 2);
  };
  const int last = (made.keys - 1) / kPanel;
  if (first >= made.queries) {  // the warpgroup only helps to copy
    for (int panel = 0; panel <= last; ++panel) await_panel(panel);
    wait_copies();
    return;
  }

  const TileOperand q = tile_operand(memory.q[group]);
  RowSoftmax softmax;
  FragmentD s[tiles], o[8];
  FragmentA p[tiles / 2];
  const auto keys_of = [&](int panel) { return tile_operand(memory.k[buffer_of(panel)]); };
  const auto values_of = [&](int panel) { return tile_operand(memory.v[buffer_of(panel)]); };
  const auto finish_scores = [&](int panel) {
    if (first + warp_row >= head.queries)
      return Floats<2>{1.0f, 1.0f};  // the warp only takes part in products
    const int count = head.keys - panel * kPanel;
    if (count < kPanel) leave_out<0>(s, count);
    return softmax.take(s, log2_scale);
  };
  await_panel(0);
  fence_products(s);
  start_scores(s, q, keys_of(0));
  wait_products<0>(s);
  finish_scores(0);
  to_operands(p, s);
#pragma unroll 1
  for (int panel = 1; panel <= last; ++panel) {
    await_panel(panel);
    fence_products(s, o, p);
    start_scores(s, q, keys_of(panel));
    start_sums(o, p, values_of(panel - 1));
    wait_products<1>(s);
    const Floats<2> keep = finish_scores(panel);
    wait_products<0>(o);
    if (__any_sync(kFullWarp, keep[0] != 1.0f || keep[1] != 1.0f))
#pragma unroll
      for (FragmentD& tile : o)
#pragma unroll
        for (int i = 0; i < 4; ++i) tile.values[i] *= keep[i / 2];
    to_operands(p, s);
  }
  fence_products(o, p);
  start_sums(o, p, values_of(last));
  softmax.finish();
  wait_products<0>(o);
  wait_copies();
  store_result<false>(head, o, softmax, first + warp_row, log2_scale);
}

}  // namespace

ForwardBlocks forward_blocks(int64_t heads, int queries, int keys) {
  const int64_t all = std::max<int64_t>(1, ceil_div(queries, kQueries));
  const int64_t most_groups = keys <= kFewKeys ? kFewGroups : kManyGroups;
  const int64_t most = keys <= kFewKeys ? all : most_groups;
  int64_t chunks = 1, least = std::numeric_limits<int64_t>::max();
  for (int64_t blocks = ceil_div(all, most); blocks <= all; ++blocks) {
    // Keys and values are worth about as many bytes, or products, as a chunk.
    const int64_t time = ceil_div(heads * blocks, kWgmmaBlocks) * (ceil_div(all, blocks) + 1);
    if (time >= least) continue;
    least = time;
    chunks = ceil_div(all, blocks);
  }
  const int64_t rounds = ceil_div(chunks, most_groups);
  return {.count = static_cast<unsigned>(ceil_div(all, chunks)),
          .chunks = static_cast<int>(chunks),
          .groups = static_cast<int>(ceil_div(chunks, rounds))};
}

void launch_attend_wgmma(Queue& queue, std::string_view name, const ForwardSource<bf16>& source,
                         int64_t heads, int keys, const ForwardBlocks& blocks) {
  const auto start = [&](auto kernel, int most_groups, int64_t most_bytes) {
    constexpr int64_t kTileBytes = kQueries * kSize * sizeof(bf16);
    launch(queue,
           {.name = name,
            .grid = {heads * blocks.count},
            .block = {blocks.groups * kWarpgroupThreads},
            .shared_bytes = most_bytes - (most_groups - blocks.groups) * kTileBytes},
           kernel, source, blocks);
  };
  if (keys <= kFewKeys) return start(attend_few_keys, kFewGroups, sizeof(FewShared));
  // The panels that keys fill best.
  if (ceil_div(keys, 80) * 80 < ceil_div(keys, 64) * 64)
    return start(attend_many_keys<10>, kManyGroups, sizeof(ManyShared<10>));
  start(attend_many_keys<8>, kManyGroups, sizeof(ManyShared<8>));
}

}  // namespace scrawl::SCRAWL_GPU
