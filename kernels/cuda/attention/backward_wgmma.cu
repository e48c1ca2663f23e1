// Attention backward in bf16 for heads of 64 values on the tensor cores of compute capability 9.0; the means
// of dP, the transposed products and what blocks leave are those of backward_mma.cuh.  A block of
// two warpgroups holds 128 keys, 64 for each, whose rows of K and V stay in registers, and walks over chunks
// of 64 queries:
//   1. Sᵀ = K Qᵀ and dPᵀ = V dYᵀ.
//   2. Pᵀ and dSᵀ in registers, the left operands of dV += Pᵀ dY and dK += dSᵀ Q; dSᵀ goes to shared memory.
//   3. After the only barrier of a chunk: dQ = dS K, of which a warpgroup takes 32 columns.
// Exponentials take as long as half of the products, so they run beside each other: what tensor cores get at
// once are dQ of the chunk before, the scores of the next and, last, dV and dK of the chunk itself.
// Four chunks of q and dy are in memory: one computed with, one whose scores have been started, one that the
// barrier shows to all, one on its way.  One block takes a multiprocessor: its sums and the products under
// way need most registers.
// Cost: as the portable form.  Limits: an image's queries and keys are less than 2³¹ values.
#include "kernels/cuda/attention/wgmma.cuh"

#include "kernels/cuda/attention/tiles.cuh"
#include "kernels/cuda/device/math.cuh"

namespace scrawl::SCRAWL_GPU {

namespace {

constexpr int kSize = kTileColumns, kQueries = 64, kBuffers = 4;
constexpr int kScoreBuffers = 3;  // products read one beyond the next chunk's barrier
constexpr int kTile = kQueries * kSize, kBlockTile = kBlockKeys * kSize;
static_assert(kAttentionThreads == kBlockKeys / 64 * kWarpgroupThreads);

struct alignas(1024) WgmmaShared {
  bf16 k[kBlockTile], v[kBlockTile];
  bf16 q[kBuffers][kTile], dy[kBuffers][kTile];
  bf16 ds[kScoreBuffers][kBlockTile];  // transposed: a row for each key
  bf16 y[2][kTile];
  float shift[kBuffers][kQueries];  // log₂ Σ e^s; infinite where there is no query
  float mean[kBuffers][kQueries];   // of dP under P
  unsigned nowhere;                 // see finish_here()
  BackwardHead<bf16> head;          // here, since registers are scarce
};

/// The queries [begin, end) of a block, of which `last` is the last chunk's number.
struct Chunks {
  int begin, end, last;
  __device__ Chunks(const BackwardPlan& plan, int part, int queries)
      : begin(part * plan.parts.queries),
        end(min(begin + plan.parts.queries, queries)),
        last(max(0, (end - begin - 1) / kQueries)) {}
  __device__ int first(int number) const { return begin + number * kQueries; }
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

/// Starts copies of a chunk, which may lie beyond the last.
__device__ __forceinline__ void start_chunk(WgmmaShared& memory, int number, const Chunks& chunks) {
  const BackwardHead<bf16>& head = memory.head;
  const int stride = head.q_stride;  // of dy and y, too
  const int buffer = number % kBuffers, first = chunks.first(number), end = chunks.end;
  copy_tile<kQueries>(memory.q[buffer], head.q, stride, first, end);
  copy_tile<kQueries>(memory.dy[buffer], head.dy, stride, first, end);
  copy_tile<kQueries>(memory.y[number % 2], head.y, stride, first, end);
  if (const int i = threadIdx.x; i < kQueries)
    copy_async<4>(memory.shift[buffer] + i, head.log_sum_exp + min(first + i, end - 1), first + i < end);
  commit_copies();
}

/// What follows from a chunk's rows alone.  A thread reads only what it copied itself, and has waited for
/// that.
__device__ __forceinline__ void prepare_chunk(WgmmaShared& memory, int number, const Chunks& chunks) {
  const int buffer = number % kBuffers;
#pragma unroll
  for (int i = 0; i < kQueries; i += kRowStep) {
    const int row = piece_row() + i, at = tile_offset(row, piece_column());
    const auto dy = load<8>(memory.dy[buffer] + at), y = load<8>(memory.y[number % 2] + at);
    float sum = 0.0f;
#pragma unroll
    for (int j = 0; j < 8; ++j) sum += dy[j] * y[j];
    sum = warp_sum<kTilePacks>(sum);
    if (piece_column() == 0) memory.mean[buffer][row] = sum;
  }
  if (const int i = threadIdx.x; i < kQueries) {
    float& shift = memory.shift[buffer][i];
    shift = chunks.first(number) + i < chunks.end ? shift * kLog2E : __int_as_float(0x7F800000);
  }
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

/// A warp's share of a block's products.
class Products {
 public:
  __device__ Products(WgmmaShared& memory, const Chunks& chunks, int keys)
      : memory_(memory), chunks_(chunks), keys_(keys), k_(memory.k, key()), v_(memory.v, key()) {}

  /// The first of the warp's 16 keys, in the block.
  __device__ static int key() { return warp_index() * 16; }

  /// Step 1 of a chunk.
  __device__ __forceinline__ void start_scores(int number) {
    const int buffer = number % kBuffers;
    fence_products(s_, dp_);
    SCRAWL_GPU::start_scores(s_, k_, tile_operand(memory_.q[buffer]));
    SCRAWL_GPU::start_scores(dp_, v_, tile_operand(memory_.dy[buffer]));
  }

  /// Makes Pᵀ and dSᵀ of a chunk's Sᵀ and dPᵀ, in their place.  `await_s` and `await_dp` wait for one each.
  template <typename AwaitS, typename AwaitDp>
  __device__ __forceinline__ void finish_scores(int number, AwaitS await_s, AwaitDp await_dp) {
    const int buffer = number % kBuffers, column = lane_index() % 4 * 2;  // of every tile of results
    const float scale = memory_.head.scale * kLog2E;
    await_s(s_);
#pragma unroll
    for (int j = 0; j < 8; ++j) {
      const auto shift = load_pack<2>(memory_.shift[buffer] + 8 * j + column);
#pragma unroll
      for (int i = 0; i < 4; ++i) s_[j].values[i] = fast_exp2(s_[j].values[i] * scale - shift[i % 2]);
    }
    finish_here(s_, memory_.nowhere);
    await_dp(dp_);
#pragma unroll
    for (int j = 0; j < 8; ++j) {
      const auto mean = load_pack<2>(memory_.mean[buffer] + 8 * j + column);
#pragma unroll
      for (int i = 0; i < 4; ++i) dp_[j].values[i] = s_[j].values[i] * (dp_[j].values[i] - mean[i % 2]);
    }
  }

  /// Makes Pᵀ and dSᵀ left operands of step 2, whose products of the chunk before are waited for.
  __device__ __forceinline__ void keep_scores() {
    wait_products<0>(dv_, dk_);
    to_operands(p_, s_);
    to_operands(ds_, dp_);
  }

  /// Step 2: dSᵀ to shared memory, as long as its registers may be read, and the products.
  __device__ __forceinline__ void start_key_gradients(int number) {
    const int buffer = number % kBuffers;
    store_scores(memory_.ds[number % kScoreBuffers], ds_, key(), keys_);
    fence_products(dv_, dk_, p_, ds_);
    start_sums(dv_, p_, tile_operand(memory_.dy[buffer]));
    start_sums(dk_, ds_, tile_operand(memory_.q[buffer]));
  }

  /// Step 3, behind the barrier.
  __device__ __forceinline__ void start_query_gradients(int number) {
    fence_products(dq_);
    const TileOperand scores = tile_operand(memory_.ds[number % kScoreBuffers]);
    const TileOperand key_columns = tile_operand(memory_.k).from(0, first_column());
#pragma unroll
    for (int i = 0; i < kBlockKeys / 16; ++i)
      start_product<Major::mn, Major::mn>(dq_, scores.from(16 * i, 0), key_columns.from(16 * i, 0), i > 0);
    commit_products();
  }
  /// When at most `newer` groups have been started since.
  template <int newer>
  __device__ __forceinline__ void store_query_gradients(int number) {
    const BackwardHead<bf16>& head = memory_.head;
    wait_products<newer>(dq_);
    const RowTarget target{head.dq_partial, head.dq, head.accumulate_dq, head.dq_stride};
    store_rows(dq_, target, head.scale, chunks_.first(number) + warp_index() % 4 * 16, chunks_.end,
               first_column());
  }

  /// `first_key`: of the block.
  __device__ __forceinline__ void store_key_gradients(const KeyTargets<bf16>& to, int first_key) {
    const BackwardHead<bf16>& head = memory_.head;
    wait_products<0>(dk_, dv_);
    const int first = first_key + key(), stride = head.kv_stride;
    store_rows(dk_, {to.dk_partial, to.dk, to.accumulate, stride}, head.scale, first, head.keys, 0);
    store_rows(dv_, {to.dv_partial, to.dv, to.accumulate, stride}, 1.0f, first, head.keys, 0);
  }

 private:
  __device__ static int first_column() {
    return warp_index() / 4 * 32;
  }

  WgmmaShared& memory_;
  const Chunks& chunks_;
  const int keys_;  // of the block
  const TileRows k_, v_;
  FragmentD s_[8], dp_[8], dk_[8], dv_[8], dq_[4];
  FragmentA p_[4], ds_[4];
};

/// Goes from a chunk, whose scores are operands, to the next: step 3 of the chunk before, step 1 of the next
/// and step 2 of this one.
template <bool is_first>
__device__ __forceinline__ void advance(WgmmaShared& memory, Products& products, const Chunks& chunks,
                                        int number) {
  if constexpr (!is_first) products.start_query_gradients(number - 1);
  products.start_scores(number + 1);
  products.start_key_gradients(number);
  wait_copies();
  prepare_chunk(memory, number + 2, chunks);
  show_products();
  __syncthreads();
  if constexpr (!is_first) products.store_query_gradients<4>(number - 1);
  start_chunk(memory, number + 3, chunks);
  products.finish_scores(
      number + 1, [](auto& s) { wait_products<3>(s); }, [](auto& dp) { wait_products<2>(dp); });
  products.keep_scores();
}

__global__ void __launch_bounds__(kAttentionThreads, 1)
    attend_backward_wgmma(BackwardSource<bf16> source, BackwardPlan plan) {
  auto& memory = *dynamic_shared<WgmmaShared>();
  const BackwardPlace place(plan);
  const BackwardHead<bf16> made = source.head(place.head, place.key_block, nullptr);
  if (threadIdx.x == 0) memory.head = made;
  __syncthreads();
  const BackwardHead<bf16>& head = memory.head;
  const Chunks chunks(plan, place.part, head.queries);
  const int first_key = place.key_block * kBlockKeys;

  copy_tile<kBlockKeys>(memory.k, head.k, head.kv_stride, first_key, head.keys);
  copy_tile<kBlockKeys>(memory.v, head.v, head.kv_stride, first_key, head.keys);
  start_chunk(memory, 0, chunks);
  start_chunk(memory, 1, chunks);
  wait_copies();
  prepare_chunk(memory, 0, chunks);
  if (chunks.last > 0) {
    prepare_chunk(memory, 1, chunks);
    start_chunk(memory, 2, chunks);
  }
  show_products();
  __syncthreads();

  Products products(memory, chunks, min(kBlockKeys, head.keys - first_key));
  products.start_scores(0);
  products.finish_scores(
      0, [](auto& s) { wait_products<1>(s); }, [](auto& dp) { wait_products<0>(dp); });
  products.keep_scores();
  if (chunks.last > 0) {
    advance<true>(memory, products, chunks, 0);
#pragma unroll 1
    for (int number = 1; number < chunks.last; ++number) advance<false>(memory, products, chunks, number);
    products.start_query_gradients(chunks.last - 1);
    products.store_query_gradients<0>(chunks.last - 1);
  }
  products.start_key_gradients(chunks.last);
  show_products();
  __syncthreads();
  products.start_query_gradients(chunks.last);
  products.store_query_gradients<0>(chunks.last);
  wait_copies();
  products.store_key_gradients(source.key_targets(place.head, place.part), first_key);
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
