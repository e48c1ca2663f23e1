#pragma once
// The gradient of queries on tensor cores (bf16), for heads with more keys than a block of
// attention_mma_backward.cuh holds: dQ = dS K of all keys at once, so that no partial sums are stored.  Built
// like forward: a warp takes 16 queries, keys and values stream by in panels.  S and dP come with queries as
// rows, so that dS is at once a left operand.
// Cost: 3 products; q, y and dy are read and dq is written once, every block reads K and V from the
// second-level cache.  Limits: as forward.
#include "kernels/cuda/attention_panels.cuh"
#include "kernels/cuda/device/math.cuh"

namespace scrawl::SCRAWL_GPU {

/// Σ a · b over each of 16 rows, in every lane of a row: of rows lane / 4 and lane / 4 + 8.
template <int D>
__device__ __forceinline__ void row_products(const RowsA<D>& a, const RowsA<D>& b, float (&products)[2]) {
  products[0] = products[1] = 0.0f;
#pragma unroll
  for (int i = 0; i < D / 16; ++i)
#pragma unroll
    for (int word = 0; word < 4; ++word) {
      const unsigned left = a.a[i].words[word], right = b.a[i].words[word];
      products[word % 2] += low_bf16(left) * low_bf16(right);
      products[word % 2] += high_bf16(left) * high_bf16(right);
    }
  products[0] = warp_sum<4>(products[0]);
  products[1] = warp_sum<4>(products[1]);
}

/// 16 queries.
template <int D>
struct QueryGradients {
  RowsA<D> q, dy;
  FragmentD dq[D / 8];
  float shift[2], mean[2];  // log₂ Σ e^s and the mean of dP, of rows lane / 4 and lane / 4 + 8

  __device__ void load(const BackwardHead<bf16>& head, int64_t first) {
    const int rows = static_cast<int>(head.queries - first);
    RowsA<D> y;
    q.load(head.q + first * head.q_stride, head.q_stride, rows, head.size, nullptr, 0);
    dy.load(head.dy + first * head.y_stride, head.y_stride, rows, head.size, nullptr, 0);
    y.load(head.y + first * head.y_stride, head.y_stride, rows, head.size, nullptr, 0);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int row = lane_index() / 4 + 8 * half;
      shift[half] = row < rows ? head.log_sum_exp[first + row] * kLog2E : 0.0f;
    }
    row_products(dy, y, mean);
  }

  /// 16 keys, of which `count` exist; the others are zeros.
  __device__ __forceinline__ void add(const bf16* k, const bf16* v, int count, float log2_scale) {
    constexpr int kStride = D + kRowPadding;
    FragmentD s[2], dp[2];
#pragma unroll
    for (int i = 0; i < D / 16; ++i) {
      const FragmentPairB keys = load_pair_transposed(k + 16 * i, kStride);
      mma(s[0], q.a[i], keys.b[0]);
      mma(s[1], q.a[i], keys.b[1]);
      const FragmentPairB values = load_pair_transposed(v + 16 * i, kStride);
      mma(dp[0], dy.a[i], values.b[0]);
      mma(dp[1], dy.a[i], values.b[1]);
    }
#pragma unroll
    for (int j = 0; j < 2; ++j)
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const bool exists = 8 * j + FragmentD::column(i) < count;
        const float p = exists ? fast_exp2(s[j].values[i] * log2_scale - shift[i / 2]) : 0.0f;
        dp[j].values[i] = p * (dp[j].values[i] - mean[i / 2]);
      }
    const FragmentA ds = as_a(dp[0], dp[1]);
#pragma unroll
    for (int i = 0; i < D / 16; ++i) {
      const FragmentPairB keys = load_pair(k + 16 * i, kStride);
      mma(dq[2 * i], ds, keys.b[0]);
      mma(dq[2 * i + 1], ds, keys.b[1]);
    }
  }

  __device__ void store(const BackwardHead<bf16>& head, int64_t first) const {
    for_packs<D / 8>(
        dq, [&](int) { return head.scale; },
        [&](int row, int column, Floats<8>& values) {
          if (first + row >= head.queries || column >= head.size) return;
          bf16* const target = head.dq + (first + row) * head.q_stride + column;
          if (head.accumulate_dq) add_stored(values, target);
          scrawl::SCRAWL_GPU::store<8>(target, values);
        });
  }
};

/// Blocks of the grid are heads × `blocks` tiles of queries.
template <int D, typename Source>
__global__ void __launch_bounds__(kPanelThreads, D <= 64 ? 4 : 3)
    attend_query_gradients_mma(Source source, int64_t blocks) {
  constexpr int kStride = D + kRowPadding;
  auto& memory = *dynamic_shared<KeyPanels<D, Source::kKeysAreValues>>();
  const BackwardHead<bf16> head = source.head(blockIdx.x / blocks, memory.list);
  memory.start(head, 0);
  memory.start(head, 1);
  const int64_t first = (blockIdx.x % blocks * kPanelWarps + warp_index()) * 16;
  QueryGradients<D> gradients;
  gradients.load(head, first);
  for_panels(memory, head, [&](const bf16* k, const bf16* v, int count) {
    if (first >= head.queries) return;
#pragma unroll 1
    for (int at = 0; at < count; at += 16)
      gradients.add(k + at * kStride, v + at * kStride, count - at, head.scale * kLog2E);
  });
  gradients.store(head, first);
}

/// `source` hands out `heads` heads.
template <typename Source>
void launch_attend_query_gradients_mma(Queue& queue, std::string_view name, const Source& source,
                                       int64_t heads, int queries, int size) {
  with_padded_size(size, [&](auto padded) {
    const int64_t blocks = ceil_div(queries, 16 * kPanelWarps);
    launch(queue, panel_shape<padded, Source::kKeysAreValues>(name, heads * blocks, 0),
           attend_query_gradients_mma<padded, Source>, source, blocks);
  });
}

}  // namespace scrawl::SCRAWL_GPU
