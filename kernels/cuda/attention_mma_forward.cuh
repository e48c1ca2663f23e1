#pragma once
// Attention forward on tensor cores (bf16).  A block holds the keys and values of one head in shared memory
// and its warps take 16 queries each, pass after pass, with no barrier between passes: the rest is reading
// queries and writing results.  Scores stay in registers, 64 keys at a time, with a running maximum and sum,
// so that every score is looked at once.  Keys that don't fit in shared memory come in panels of kPanel for
// every pass (the streaming path).
// Cost: 2 products of 16 × 64 × D per warp and step; K and V are read once a block from the second-level
// cache.  Limits: head sizes are multiples of 8 up to 128; sizes between 32, 64 and 128 are padded by zeros.
#include "kernels/cuda/attention_fragments.cuh"
#include "kernels/cuda/attention_head.cuh"
#include "kernels/cuda/device/math.cuh"

namespace scrawl::SCRAWL_GPU {

struct ForwardPlan {
  static constexpr int kPanel = 128;  // keys of a panel when not all fit
  int warps = 4, passes = 1, panel_keys = 16;
  int64_t blocks = 1;  // of a head
  int64_t shared_bytes = 0, list_offset = 0;

  /// `tensors` is 1 if keys are the values, else 2; `list_entries` of room are left behind the panel.
  ForwardPlan(int64_t heads, int queries, int keys, int padded_size, int tensors, int list_entries,
              int64_t shared_limit) {
    constexpr int64_t kBlocks = 512;  // about what a large GPU holds at once
    const int64_t row_bytes = (padded_size + kRowPadding) * int64_t{sizeof(bf16)} * tensors;
    const int64_t list_bytes = ceil_div(list_entries, 4) * 16;
    const int64_t padded_keys = std::max<int64_t>(16, ceil_div(keys, 16) * 16);
    panel_keys =
        static_cast<int>(padded_keys * row_bytes + list_bytes <= shared_limit ? padded_keys : kPanel);
    list_offset = panel_keys * row_bytes;
    shared_bytes = list_offset + list_bytes;
    warps = panel_keys <= 128 ? 4 : kAttentionThreads / kWarpSize;
    const int64_t tiles = ceil_div(queries, 16 * warps);
    passes = static_cast<int>(std::max<int64_t>(1, ceil_div(heads * tiles, kBlocks)));
    blocks = ceil_div(tiles, passes);
  }
  LaunchShape shape(std::string_view name, int64_t heads) const {
    return {
        .name = name, .grid = {heads * blocks}, .block = {warps * kWarpSize}, .shared_bytes = shared_bytes};
  }
};

/// The running softmax of 16 queries: o is Σ e^(s − top) v, a lane's sums cover its own columns of scores.
template <int D>
struct RunningSoftmax {
  FragmentD o[D / 8];
  float top[2], sum[2];  // of rows lane / 4 and lane / 4 + 8

  __device__ RunningSoftmax() {
    top[0] = top[1] = __int_as_float(0xFF800000);  // −∞
    sum[0] = sum[1] = 0.0f;
  }

  /// Up to 64 keys that start at k and v in shared memory; `count` of them exist, the rest of the last 16 are
  /// zeros.
  __device__ void attend(const RowsA<D>& q, const bf16* k, const bf16* v, int count, float log2_scale) {
    constexpr int kStride = D + kRowPadding;
    FragmentD s[8];
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      if (16 * j >= count) continue;
#pragma unroll
      for (int i = 0; i < D / 16; ++i) {
        const FragmentPairB keys = load_pair_transposed(k + 16 * j * kStride + 16 * i, kStride);
        mma(s[2 * j], q.a[i], keys.b[0]);
        mma(s[2 * j + 1], q.a[i], keys.b[1]);
      }
    }
    to_probabilities(s, count, log2_scale);
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      if (16 * j >= count) continue;
      const FragmentA p = as_a(s[2 * j], s[2 * j + 1]);
#pragma unroll
      for (int i = 0; i < D / 16; ++i) {
        const FragmentPairB values = load_pair(v + 16 * j * kStride + 16 * i, kStride);
        mma(o[2 * i], p, values.b[0]);
        mma(o[2 * i + 1], p, values.b[1]);
      }
    }
  }

  /// The sums of whole rows, in every lane of a row.
  __device__ void finish() {
    sum[0] = warp_sum<4>(sum[0]);
    sum[1] = warp_sum<4>(sum[1]);
  }

 private:
  __device__ __forceinline__ void to_probabilities(FragmentD (&s)[8], int count, float log2_scale) {
    if (count < 64)
#pragma unroll
      for (int j = 0; j < 8; ++j)
#pragma unroll
        for (int i = 0; i < 4; ++i)
          if (8 * j + FragmentD::column(i) >= count) s[j].values[i] = __int_as_float(0xFF800000);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float largest = top[half];
#pragma unroll
      for (int j = 0; j < 8; ++j)
        largest = Larger{}(largest, Larger{}(s[j].values[2 * half], s[j].values[2 * half + 1]));
      largest = warp_max<4>(largest);
      const float shift = largest * log2_scale;
      const float keep = fast_exp2(top[half] * log2_scale - shift);
      float total = 0.0f;
#pragma unroll
      for (int j = 0; j < 8; ++j)
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
};

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

template <int D, typename Source>
__global__ void __launch_bounds__(kAttentionThreads) attend_mma(Source source, ForwardPlan plan) {
  constexpr int kStride = D + kRowPadding;
  bf16* const k = dynamic_shared<bf16>();
  bf16* const v = Source::kKeysAreValues ? k : k + plan.panel_keys * kStride;
  int* const list = reinterpret_cast<int*>(dynamic_shared<unsigned char>() + plan.list_offset);
  const ForwardHead<bf16> head = source.head(blockIdx.x / plan.blocks, list);
  const float log2_scale = head.scale * kLog2E;

  for (int pass = 0; pass < plan.passes; ++pass) {
    const int64_t tile = blockIdx.x % plan.blocks * plan.passes + pass;
    const int64_t first = (tile * plan.warps + warp_index()) * 16;
    const bool active = first < head.queries;
    RowsA<D> q;
    if (active)
      q.load(head.q + first * head.q_stride, head.q_stride, static_cast<int>(head.queries - first), head.size,
             head.q_copy ? head.q_copy + first * head.y_stride : nullptr, head.y_stride);
    RunningSoftmax<D> softmax;
    for (int begin = 0; begin < head.keys; begin += plan.panel_keys) {
      const int count = min(plan.panel_keys, head.keys - begin);
      if (pass == 0 || head.keys > plan.panel_keys) load_keys<D>(k, v, head, begin, count);
      for (int at = 0; active && at < count; at += 64)
        softmax.attend(q, k + at * kStride, v + at * kStride, min(64, count - at), log2_scale);
    }
    if (active) store_result(softmax, head, static_cast<int>(first), log2_scale);
  }
}

/// `source` hands out `heads` heads.
template <typename Source>
void launch_attend_mma(Queue& queue, std::string_view name, const Source& source, int64_t heads, int queries,
                       int keys, int size, int list_entries) {
  with_padded_size(size, [&](auto padded) {
    const ForwardPlan plan(heads, queries, keys, padded, Source::kKeysAreValues ? 1 : 2, list_entries,
                           shared_memory_limit(queue));
    launch(queue, plan.shape(name, heads), attend_mma<padded, Source>, source, plan);
  });
}

}  // namespace scrawl::SCRAWL_GPU
