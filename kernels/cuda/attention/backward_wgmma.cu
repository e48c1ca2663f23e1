// Attention backward in bf16 for heads of 64 values on the tensor cores of compute capability 9.0; the means
// of dP, the transposed products and what blocks leave are those of backward_mma.cuh.  A block of
// two warpgroups holds 128 keys, 64 for each, whose rows of K and V stay in registers, and walks over chunks
// of 64 queries:
//   1. Sᵀ = K Qᵀ and dPᵀ = V dYᵀ, started while the chunk before is finished.
//   2. Pᵀ and dSᵀ in registers, the left operands of dV += Pᵀ dY and dK += dSᵀ Q; dSᵀ goes to shared memory.
//   3. After the only barrier of a chunk: dQ = dS K, of which a warpgroup takes 32 columns.
// Three chunks of q and dy are in memory: one computed with, one whose scores have been started, one on its
// way.  One block takes a multiprocessor: its sums and the products under way need most registers.
// Cost: as the portable form.  Limits: an image's queries and keys are less than 2³¹ values.
#include "kernels/cuda/attention/wgmma.cuh"

#include "kernels/cuda/attention/tiles.cuh"
#include "kernels/cuda/device/math.cuh"

namespace scrawl::SCRAWL_GPU {

namespace {

constexpr int kSize = kTileColumns, kQueries = 64, kBuffers = 3;
constexpr int kTile = kQueries * kSize, kBlockTile = kBlockKeys * kSize;
static_assert(kAttentionThreads == kBlockKeys / 64 * kWarpgroupThreads);

struct alignas(1024) WgmmaShared {
  bf16 k[kBlockTile], v[kBlockTile];
  bf16 q[kBuffers][kTile], dy[kBuffers][kTile];
  bf16 ds[2][kBlockTile];  // transposed: a row for each key; two, since products read one beyond the barrier
  bf16 y[kTile];
  float shift[kBuffers][kQueries];  // log₂ Σ e^s; infinite where there is no query
  float mean[kBuffers][kQueries];   // of dP under P
  BackwardHead<bf16> head;          // here, since registers are scarce
};

/// A thread copies the pieces of 16 bytes at (piece_row(), piece_column()), and every kRowStep rows further
/// on, of all tiles.
constexpr int kRowStep = kAttentionThreads / kTilePacks;
__device__ __forceinline__ int piece_row() {
  return threadIdx.x / kTilePacks;
}
__device__ __forceinline__ int piece_column() {
  return threadIdx.x % kTilePacks * 8;
}

/// Starts copies of rows from `first` on to a tile of `rows`; those from `end` on become zeros.  All threads
/// of the block call it.
template <int rows>
__device__ __forceinline__ void copy_tile(bf16* tile, const bf16* source, int stride, int first, int end) {
  bf16* const target = tile + tile_offset(piece_row(), piece_column());
#pragma unroll
  for (int i = 0; i < rows; i += kRowStep) {
    const int row = first + piece_row() + i;
    copy_async<16>(target + i * kSize, source + min(row, end - 1) * stride + piece_column(), row < end);
  }
}

/// Queries [first, end), none or a chunk of them.
__device__ __forceinline__ void start_chunk(WgmmaShared& memory, int buffer, int first, int end) {
  const BackwardHead<bf16>& head = memory.head;
  const int stride = head.q_stride;  // of dy and y, too
  copy_tile<kQueries>(memory.q[buffer], head.q, stride, first, end);
  copy_tile<kQueries>(memory.dy[buffer], head.dy, stride, first, end);
  copy_tile<kQueries>(memory.y, head.y, stride, first, end);
  if (const int i = threadIdx.x; i < kQueries)
    copy_async<4>(memory.shift[buffer] + i, head.log_sum_exp + min(first + i, end - 1), first + i < end);
  commit_copies();
}

/// What follows from a chunk's rows alone.  A thread reads only what it copied itself, and has waited for
/// that.
__device__ __forceinline__ void prepare_chunk(WgmmaShared& memory, int buffer, int first, int end) {
#pragma unroll
  for (int i = 0; i < kQueries; i += kRowStep) {
    const int row = piece_row() + i, at = tile_offset(row, piece_column());
    const auto dy = load<8>(memory.dy[buffer] + at), y = load<8>(memory.y + at);
    float sum = 0.0f;
#pragma unroll
    for (int j = 0; j < 8; ++j) sum += dy[j] * y[j];
    sum = warp_sum<kTilePacks>(sum);
    if (piece_column() == 0) memory.mean[buffer][row] = sum;
  }
  if (const int i = threadIdx.x; i < kQueries) {
    float& shift = memory.shift[buffer][i];
    shift = first + i < end ? shift * kLog2E : __int_as_float(0x7F800000);
  }
}

/// Waits for Sᵀ and dPᵀ of a chunk, the newest products, and makes Pᵀ and dSᵀ of them.
__device__ __forceinline__ void finish_scores(const WgmmaShared& memory, int buffer, FragmentD (&s)[8],
                                              FragmentD (&dp)[8], FragmentA (&p)[4], FragmentA (&ds)[4]) {
  const int column = lane_index() % 4 * 2;  // of every tile of results
  const float scale = memory.head.scale * kLog2E;
  wait_products<1>(s);
#pragma unroll
  for (int j = 0; j < 8; ++j) {
    const auto shift = load_pack<2>(memory.shift[buffer] + 8 * j + column);
#pragma unroll
    for (int i = 0; i < 4; ++i) s[j].values[i] = fast_exp2(s[j].values[i] * scale - shift[i % 2]);
  }
  to_operands(p, s);
  wait_products<0>(dp);
#pragma unroll
  for (int j = 0; j < 8; ++j) {
    const auto mean = load_pack<2>(memory.mean[buffer] + 8 * j + column);
#pragma unroll
    for (int i = 0; i < 4; ++i) dp[j].values[i] = s[j].values[i] * (dp[j].values[i] - mean[i % 2]);
  }
  to_operands(ds, dp);
}

/// Stores dSᵀ of the warp's 16 keys from `key` on.  Rows of keys that do not exist may hold anything, and
/// must not reach dq.
__device__ __forceinline__ void store_scores(bf16* tile, const FragmentA (&ds)[4], int key, int keys) {
  const int column = lane_index() % 4 * 2;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = key + lane_index() / 4 + 8 * half;
#pragma unroll
    for (int i = 0; i < 8; ++i)  // a word holds two neighbouring queries of one key
      *reinterpret_cast<unsigned*>(tile + tile_offset(row, 8 * i + column)) =
          row < keys ? ds[i / 2].words[i % 2 * 2 + half] : 0;
  }
}

/// Where rows of gradients go, `stride` values apart: to `partial` if it is not null, else to `direct`.
struct RowTarget {
  float* partial;
  bf16* direct;
  bool accumulate;
  int stride;
};

/// Stores a warp's 16 rows from `first` on, of which those before `end` exist, times `scale`, from `column`
/// on.  Pairs of fp32 fill sectors as they are; those of bf16 are too few to be worth shuffles.
template <int count>
__device__ __forceinline__ void store_rows(FragmentD (&d)[count], const RowTarget& target, float scale,
                                           int first, int end, int column) {
  const int row = first + lane_index() / 4;
  const int at = row * target.stride + column + lane_index() % 4 * 2;
  const auto for_pairs = [&](auto body) {
#pragma unroll
    for (int half = 0; half < 2; ++half)
      if (row + 8 * half < end)
#pragma unroll
        for (int i = 0; i < count; ++i) body(&d[i].values[2 * half], at + 8 * half * target.stride + 8 * i);
  };
#pragma unroll
  for (FragmentD& tile : d)
    for (float& value : tile.values) value *= scale;
  if (float* const partial = target.partial)
    return for_pairs([=](const float* pair, int to) { store<2>(partial + to, Floats<2>{pair[0], pair[1]}); });
  bf16* const direct = target.direct;
  if (target.accumulate)
    for_pairs([=](float* pair, int from) {
      const auto stored = load<2>(direct + from);
      pair[0] += stored[0];
      pair[1] += stored[1];
    });
  for_pairs([=](const float* pair, int to) { store<2>(direct + to, Floats<2>{pair[0], pair[1]}); });
}

__global__ void __launch_bounds__(kAttentionThreads, 1)
    attend_backward_wgmma(BackwardSource<bf16> source, BackwardPlan plan) {
  auto& memory = *dynamic_shared<WgmmaShared>();
  const int part = blockIdx.x % plan.parts.count;
  const int key_block = static_cast<int>(blockIdx.x / plan.parts.count % plan.key_blocks);
  const int64_t index = blockIdx.x / plan.parts.count / plan.key_blocks;
  const BackwardHead<bf16> made = source.head(index, key_block, nullptr);
  if (threadIdx.x == 0) memory.head = made;
  __syncthreads();
  const BackwardHead<bf16>& head = memory.head;
  const int begin = part * plan.parts.queries, end = min(begin + plan.parts.queries, head.queries);
  const int first_key = key_block * kBlockKeys, keys = min(kBlockKeys, head.keys - first_key);
  const int group = warp_index() / 4, warp_row = warp_index() % 4 * 16;
  const int key = 64 * group + warp_row;  // of the warp, in the block

  copy_tile<kBlockKeys>(memory.k, head.k, head.kv_stride, first_key, head.keys);
  copy_tile<kBlockKeys>(memory.v, head.v, head.kv_stride, first_key, head.keys);
  start_chunk(memory, 0, begin, end);
  wait_copies();
  prepare_chunk(memory, 0, begin, end);
  start_chunk(memory, 1, begin + kQueries, end);
  show_products();
  __syncthreads();

  const TileRows k(memory.k, key), v(memory.v, key);
  FragmentD s[8], dp[8], dk[8], dv[8], dq[4];
  FragmentA p[4], ds[4];
  fence_products(s, dp);
  start_scores(s, k, tile_operand(memory.q[0]));
  start_scores(dp, v, tile_operand(memory.dy[0]));
  finish_scores(memory, 0, s, dp, p, ds);

  // Starts what a chunk adds to dv, dk and dq.
  const auto start_gradients = [&](int buffer, int ds_buffer, auto before_barrier) {
    fence_products(dv, dk);
    start_sums(dv, p, tile_operand(memory.dy[buffer]));
    start_sums(dk, ds, tile_operand(memory.q[buffer]));
    store_scores(memory.ds[ds_buffer], ds, key, keys);
    before_barrier();
    show_products();
    __syncthreads();
    fence_products(dq, s, dp);
    const TileOperand scores = tile_operand(memory.ds[ds_buffer]);
    const TileOperand key_columns = tile_operand(memory.k).from(0, 32 * group);
#pragma unroll
    for (int i = 0; i < kBlockKeys / 16; ++i)
      start_product<Major::mn, Major::mn>(dq, scores.from(16 * i, 0), key_columns.from(16 * i, 0), i > 0);
    commit_products();
  };
  const auto store_query_gradients = [&](int first) {
    const RowTarget target{head.dq_partial, head.dq, head.accumulate_dq, head.dq_stride};
    store_rows(dq, target, head.scale, first + warp_row, end, 32 * group);
  };
  int buffer = 0, ds_buffer = 0, first = begin;
#pragma unroll 1
  for (; first + kQueries < end; first += kQueries) {
    const int next = buffer == kBuffers - 1 ? 0 : buffer + 1;
    start_gradients(buffer, ds_buffer, [&] {
      wait_copies();
      prepare_chunk(memory, next, first + kQueries, end);
    });
    start_scores(s, k, tile_operand(memory.q[next]));
    start_scores(dp, v, tile_operand(memory.dy[next]));
    start_chunk(memory, next == kBuffers - 1 ? 0 : next + 1, first + 2 * kQueries, end);
    wait_products<2>(dq, dv, dk);
    store_query_gradients(first);
    finish_scores(memory, next, s, dp, p, ds);
    buffer = next;
    ds_buffer ^= 1;
  }
  start_gradients(buffer, ds_buffer, [] {});
  wait_products<0>(dq, dk, dv);
  store_query_gradients(first);
  wait_copies();
  const KeyTargets<bf16> to = source.key_targets(index, part);
  store_rows(dk, {to.dk_partial, to.dk, to.accumulate, head.kv_stride}, head.scale, first_key + key,
             head.keys, 0);
  store_rows(dv, {to.dv_partial, to.dv, to.accumulate, head.kv_stride}, 1.0f, first_key + key, head.keys, 0);
}

}  // namespace

void launch_attend_backward_wgmma(Queue& queue, std::string_view name, const BackwardSource<bf16>& source,
                                  int64_t heads, const BackwardPlan& plan) {
  launch(queue,
         {.name = name,
          .grid = {heads * plan.key_blocks * plan.parts.count},
          .block = {kAttentionThreads},
          .shared_bytes = sizeof(WgmmaShared)},
         attend_backward_wgmma, source, plan);
}

}  // namespace scrawl::SCRAWL_GPU
