#pragma once
// Attention forward on tensor cores (bf16).  A warp takes 16 or 32 queries, a block four warps, which may
// share the keys of their queries (see forward_plan.cuh).  Keys and values come through shared
// memory in panels, the next panel on its way while this one is used.  Scores stay in registers, with a
// running maximum and sum, so that every score is looked at once; 32 queries share what is loaded of keys and
// values.
// Cost: 2 products; every block reads K and V from the second-level cache.  Limits: head sizes are multiples
// of 8 up to 128; sizes between 32, 64 and 128 are padded by zeros.
#include "kernels/cuda/attention/forward_plan.cuh"
#include "kernels/cuda/attention/head.cuh"
#include "kernels/cuda/attention/panels.cuh"
#include "kernels/cuda/device/math.cuh"

namespace scrawl::SCRAWL_GPU {

/// The running softmax of 16 queries: o is Σ e^(s − top) v, a lane's sums cover its own columns of scores.
template <int D>
struct RunningSoftmax {
  static constexpr int kScores = kForwardKeys / 8;
  FragmentD o[D / 8];
  float top[2], sum[2];  // of rows lane / 4 and lane / 4 + 8

  __device__ RunningSoftmax() {
    top[0] = top[1] = __int_as_float(0xFF800000);  // −∞
    sum[0] = sum[1] = 0.0f;
  }

  /// Scores of one step become shares of probability.
  __device__ __forceinline__ void to_probabilities(FragmentD (&s)[kScores], int count, float log2_scale) {
    if (count < kForwardKeys)
#pragma unroll
      for (int j = 0; j < kScores; ++j)
#pragma unroll
        for (int i = 0; i < 4; ++i)
          if (8 * j + FragmentD::column(i) >= count) s[j].values[i] = __int_as_float(0xFF800000);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float largest = top[half];
#pragma unroll
      for (int j = 0; j < kScores; ++j)
        largest = Larger{}(largest, Larger{}(s[j].values[2 * half], s[j].values[2 * half + 1]));
      largest = warp_max<4>(largest);
      const float shift = largest * log2_scale;
      const float keep = fast_exp2(top[half] * log2_scale - shift);
      float total = 0.0f;
#pragma unroll
      for (int j = 0; j < kScores; ++j)
#pragma unroll
        for (int i = 2 * half; i < 2 * half + 2; ++i)
          total += s[j].values[i] = fast_exp2(s[j].values[i] * log2_scale - shift);
      sum[half] = sum[half] * keep + total;
      top[half] = largest;
#pragma unroll
      for (int i = 0; i < D / 8; ++i) {
        o[i].values[2 * half] *= keep;
        o[i].values[2 * half + 1] *= keep;
      }
    }
  }

  /// The sums of whole rows, in every lane of a row.
  __device__ void finish() {
    sum[0] = warp_sum<4>(sum[0]);
    sum[1] = warp_sum<4>(sum[1]);
  }
};

/// One step: keys, of which `count` exist; the rest of the last 16 are zeros.
template <int D, int tiles>
__device__ __forceinline__ void attend(RunningSoftmax<D> (&softmax)[tiles], const RowsA<D> (&q)[tiles],
                                       const bf16* k, const bf16* v, int count, float log2_scale) {
  constexpr int kStride = D + kRowPadding;
  FragmentD s[tiles][RunningSoftmax<D>::kScores];
#pragma unroll
  for (int j = 0; j < kForwardKeys / 16; ++j) {
    if (16 * j >= count) continue;
#pragma unroll
    for (int i = 0; i < D / 16; ++i) {
      const FragmentPairB keys = load_pair_transposed(k + 16 * j * kStride + 16 * i, kStride);
#pragma unroll
      for (int tile = 0; tile < tiles; ++tile) {
        mma(s[tile][2 * j], q[tile].a[i], keys.b[0]);
        mma(s[tile][2 * j + 1], q[tile].a[i], keys.b[1]);
      }
    }
  }
#pragma unroll
  for (int tile = 0; tile < tiles; ++tile) softmax[tile].to_probabilities(s[tile], count, log2_scale);
#pragma unroll
  for (int j = 0; j < kForwardKeys / 16; ++j) {
    if (16 * j >= count) continue;
    FragmentA p[tiles];
#pragma unroll
    for (int tile = 0; tile < tiles; ++tile) p[tile] = as_a(s[tile][2 * j], s[tile][2 * j + 1]);
#pragma unroll
    for (int i = 0; i < D / 16; ++i) {
      const FragmentPairB values = load_pair(v + 16 * j * kStride + 16 * i, kStride);
#pragma unroll
      for (int tile = 0; tile < tiles; ++tile) {
        mma(softmax[tile].o[2 * i], p[tile], values.b[0]);
        mma(softmax[tile].o[2 * i + 1], p[tile], values.b[1]);
      }
    }
  }
}

/// y and log Σ exp of 16 queries from `first` on; without keys y is zero and log Σ exp is −∞.
template <int D>
__device__ void store_result(const RunningSoftmax<D>& softmax, const ForwardHead<bf16>& head, int first,
                             float log2_scale) {
  float share[2];
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const float sum = softmax.sum[half];
    share[half] = sum == 0.0f ? 0.0f : 1.0f / sum;
    const int row = first + lane_index() / 4 + 8 * half;
    if (lane_index() % 4 == 0 && row < head.queries)
      head.log_sum_exp[row] =
          sum == 0.0f ? softmax.top[half] : (softmax.top[half] * log2_scale + fast_log2(sum)) * kLn2;
  }
  for_packs<D / 8>(
      softmax.o, [&](int half) { return share[half]; },
      [&](int row, int column, const Floats<8>& values) {
        if (first + row < head.queries && column < head.size)
          store<8>(head.y + int64_t{first + row} * head.y_stride + column, values);
      });
}

/// Softmaxes of warps that took different keys of the same queries become one, in warps of share 0.  A warp
/// without keys weighs nothing.
template <int D>
__device__ void combine_shares(RunningSoftmax<D>& softmax, float* memory, int share, int shares,
                               float log2_scale) {
  auto& tops = shared<float[kPanelWarps][16], struct ShareTops>();
  auto& sums = shared<float[kPanelWarps][16], struct ShareSums>();
  const int first = warp_index() - share;
  softmax.finish();
#pragma unroll
  for (int half = 0; half < 2; ++half)
    if (lane_index() % 4 == 0) {
      const int row = lane_index() / 4 + 8 * half;
      tops[warp_index()][row] = softmax.top[half];
      sums[warp_index()][row] = softmax.sum[half];
    }
  __syncthreads();
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = lane_index() / 4 + 8 * half;
    float top = softmax.top[half], sum = 0.0f;
    const auto weight = [&](float own_top) { return fast_exp2((own_top - top) * log2_scale); };
#pragma unroll
    for (int i = 0; i < kPanelWarps; ++i)
      if (i < shares) top = Larger{}(top, tops[first + i][row]);
#pragma unroll
    for (int i = 0; i < kPanelWarps; ++i)
      if (i < shares) sum += sums[first + i][row] * weight(tops[first + i][row]);
    const float keep = weight(softmax.top[half]);
#pragma unroll
    for (int i = 0; i < D / 8; ++i) {
      softmax.o[i].values[2 * half] *= keep;
      softmax.o[i].values[2 * half + 1] *= keep;
    }
    softmax.top[half] = top;
    softmax.sum[half] = sum;
  }
  add_groups<D>(softmax.o, memory, kPanelWarps / shares, first / shares, share, shares);
}

/// What a block does: `block` of head `index`.  Memory starts with room for the list of keys.
template <int D, int tiles, typename Source>
__device__ __forceinline__ void attend_block(const Source& source, const ForwardPlan& plan, unsigned index,
                                             int block) {
  constexpr bool kOne = Source::kKeysAreValues, kMayShare = tiles == 1 && !kOne;
  constexpr int kStride = D + kRowPadding;
  const int shares = kMayShare ? plan.shares : 1;
  int* const list = dynamic_shared<int>();
  bf16* const memory = reinterpret_cast<bf16*>(list + (kOne ? plan.list_entries : 0));
  const KeyPanels<D, kOne> panels{memory, panel_room(shares)};
  const ForwardHead<bf16> made = source.head(index, list);
  auto& head = shared<ForwardHead<bf16>, struct KeptHead>();
  if (threadIdx.x == 0) head = made;
  __syncthreads();
#pragma unroll 1
  for (int panel = 0; panel < 2; ++panel) panels.start(head, panel);
  const int share = warp_index() % shares, group = warp_index() / shares;
  const int first = (block * (kPanelWarps / shares) + group) * (16 * tiles);
  RowsA<D> q[tiles];
#pragma unroll
  for (int tile = 0; tile < tiles; ++tile) {
    const int64_t row = first + 16 * tile;
    q[tile].load(head.q + row * head.q_stride, head.q_stride, head.queries - first - 16 * tile, head.size,
                 head.q_copy ? head.q_copy + row * head.y_stride : nullptr, head.y_stride);
  }
  RunningSoftmax<D> softmax[tiles];
  panels.for_each(head, [&](const bf16* k, const bf16* v, int count) {
    if (first >= head.queries) return;
    const float log2_scale = head.scale * kLog2E;
#pragma unroll 1
    for (int at = share * kForwardKeys; at < count; at += shares * kForwardKeys)
      attend(softmax, q, k + at * kStride, v + at * kStride, min(kForwardKeys, count - at), log2_scale);
  });
  const float log2_scale = head.scale * kLog2E;
  if constexpr (kMayShare)
    if (shares > 1) {
      combine_shares(softmax[0], reinterpret_cast<float*>(memory), share, shares, log2_scale);
      if (share > 0) return;
    }
#pragma unroll
  for (int tile = 0; tile < tiles; ++tile) {
    if (shares == 1) softmax[tile].finish();
    store_result(softmax[tile], head, first + 16 * tile, log2_scale);
  }
}

/// Blocks of the grid are heads × `plan.blocks` tiles of queries.
template <int D, int tiles, typename Source>
__global__ void __launch_bounds__(kPanelThreads, kForwardResident<D, tiles>)
    attend_mma(Source source, ForwardPlan plan) {
  attend_block<D, tiles>(source, plan, blockIdx.x / plan.blocks, static_cast<int>(blockIdx.x % plan.blocks));
}

/// `source` hands out `heads` heads of up to `keys` keys, listed if there are `list_entries`.
template <typename Source>
void launch_attend_mma(Queue& queue, std::string_view name, const Source& source, int64_t heads, int queries,
                       int keys, int size, int list_entries) {
  constexpr bool kOne = Source::kKeysAreValues;
  with_padded_size(size, [&](auto padded) {
    constexpr int kWide = kForwardTiles<padded>;
    const int shares = kOne ? 1 : shares_of_keys<padded>(heads, queries, keys);
    const int tiles = shares > 1 ? 1 : kWide;
    const ForwardPlan plan{.shares = shares,
                           .list_entries = (list_entries + 3) / 4 * 4,
                           .blocks = static_cast<unsigned>(ceil_div(queries, block_queries(tiles, shares)))};
    const LaunchShape shape{
        .name = name,
        .grid = {heads * plan.blocks},
        .block = {kPanelThreads},
        .shared_bytes = 4 * plan.list_entries + KeyPanels<padded, kOne>::bytes(keys, panel_room(shares))};
    if constexpr (!kOne && kWide > 1)
      if (tiles == 1) return launch(queue, shape, attend_mma<padded, 1, Source>, source, plan);
    launch(queue, shape, attend_mma<padded, kWide, Source>, source, plan);
  });
}

}  // namespace scrawl::SCRAWL_GPU
