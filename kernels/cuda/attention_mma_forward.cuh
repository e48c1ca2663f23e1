#pragma once
// Attention forward on tensor cores (bf16).  A warp takes 16 or 32 queries, a block four warps.  Keys and
// values come through shared memory in panels of 64, the next panel on its way while this one is used. Scores
// stay in registers, with a running maximum and sum, so that every score is looked at once; 32 queries share
// what is loaded of keys and values.
// Cost: 2 products; every block reads K and V from the second-level cache.  Limits: head sizes are multiples
// of 8 up to 128; sizes between 32, 64 and 128 are padded by zeros.
#include "kernels/cuda/attention_fragments.cuh"
#include "kernels/cuda/attention_head.cuh"
#include "kernels/cuda/attention_panels.cuh"
#include "kernels/cuda/device/math.cuh"

namespace scrawl::SCRAWL_GPU {

/// How many times 16 queries a warp takes: as many as registers hold the results of.
template <int D>
inline constexpr int kForwardTiles = D <= 64 ? 2 : 1;
inline constexpr int kForwardKeys = 32;  // of one step

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
__device__ void store_result(RunningSoftmax<D>& softmax, const ForwardHead<bf16>& head, int first,
                             float log2_scale) {
  softmax.finish();
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

/// Blocks of the grid are heads × `blocks` tiles of queries.
template <int D, typename Source>
__global__ void __launch_bounds__(kPanelThreads, 3) attend_mma(Source source, int64_t blocks) {
  constexpr int kTiles = kForwardTiles<D>, kStride = D + kRowPadding;
  auto& memory = *dynamic_shared<KeyPanels<D, Source::kKeysAreValues>>();
  const ForwardHead<bf16> head = source.head(blockIdx.x / blocks, memory.list);
  memory.start(head, 0);
  memory.start(head, 1);
  const int64_t first = (blockIdx.x % blocks * kPanelWarps + warp_index()) * (16 * kTiles);
  const float log2_scale = head.scale * kLog2E;
  RowsA<D> q[kTiles];
#pragma unroll
  for (int tile = 0; tile < kTiles; ++tile) {
    const int64_t row = first + 16 * tile;
    q[tile].load(head.q + row * head.q_stride, head.q_stride, static_cast<int>(head.queries - row), head.size,
                 head.q_copy ? head.q_copy + row * head.y_stride : nullptr, head.y_stride);
  }
  RunningSoftmax<D> softmax[kTiles];
  for_panels(memory, head, [&](const bf16* k, const bf16* v, int count) {
    if (first >= head.queries) return;
#pragma unroll 1
    for (int at = 0; at < count; at += kForwardKeys)
      attend(softmax, q, k + at * kStride, v + at * kStride, min(kForwardKeys, count - at), log2_scale);
  });
#pragma unroll
  for (int tile = 0; tile < kTiles; ++tile)
    store_result(softmax[tile], head, static_cast<int>(first + 16 * tile), log2_scale);
}

/// `source` hands out `heads` heads.
template <typename Source>
void launch_attend_mma(Queue& queue, std::string_view name, const Source& source, int64_t heads, int queries,
                       int size, int list_entries) {
  with_padded_size(size, [&](auto padded) {
    const int64_t blocks = ceil_div(queries, 16 * kForwardTiles<padded> * kPanelWarps);
    launch(queue, panel_shape<padded, Source::kKeysAreValues>(name, heads * blocks, list_entries),
           attend_mma<padded, Source>, source, blocks);
  });
}

}  // namespace scrawl::SCRAWL_GPU
