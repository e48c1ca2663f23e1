// Attention with few keys: for a tile of queries of one head the scores fit in the cache, so softmax needs no
// streaming.  Matrix products by oneDNN on strided operands, exponentials as vector code between them.
// Score rows are padded to whole vectors.  Backward recomputes the probabilities tile by tile; the gradients
// of keys and values are summed within fixed parts of the queries, and the parts are added in order.
// Cost: bound by the products; scratch is two tiles a thread plus one copy of dkv a part.  Limits: a tile's
// score row must fit in the cache, which holds up to some 10,000 keys.
#include "kernels/attention.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/cpu/gemm.h"
#include "kernels/cpu/math.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/partial_sums.h"

namespace scrawl::cpu {

namespace {

constexpr int64_t kPartQueries = 2048;  // queries whose dk and dv are summed in one go

struct Layout {
  explicit Layout(const AttentionShape& shape)
      : keys(shape.keys),
        size(shape.head_size),
        channels(shape.channels()),
        padded_keys(ceil_div(shape.keys, 16) * 16),
        tile_queries(std::clamp<int64_t>(65536 / std::max<int64_t>(16, padded_keys) / 16 * 16, 16, 256)),
        scale(1.0f / std::sqrt(static_cast<float>(shape.head_size))) {}
  int64_t keys, size, channels;
  int64_t padded_keys;   // row stride of a tile of scores
  int64_t tile_queries;  // rows of a tile of scores
  float scale;
  int64_t tile_space() const { return tile_queries * padded_keys; }
};

/// The largest of `count` values, a multiple of 16, in lanes: compilers keep a plain maximum in order.
float maximum(const float* row, int64_t count) {
  float lanes[16];
  std::fill(lanes, lanes + 16, -std::numeric_limits<float>::infinity());
  for (int64_t j = 0; j < count; j += 16) {
#pragma omp simd
    for (int lane = 0; lane < 16; ++lane)
      lanes[lane] = row[j + lane] > lanes[lane] ? row[j + lane] : lanes[lane];
  }
  for (int width = 8; width > 0; width /= 2)
    for (int lane = 0; lane < width; ++lane)
      lanes[lane] = lanes[lane + width] > lanes[lane] ? lanes[lane + width] : lanes[lane];
  return lanes[0];
}

/// One row of scores becomes probabilities; returns log Σ e^score.  Padding gets probability 0.
float softmax_row(const Layout& layout, float* row) {
  std::fill(row + layout.keys, row + layout.padded_keys, -std::numeric_limits<float>::infinity());
  const float top = maximum(row, layout.padded_keys);
  float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
  for (int64_t j = 0; j < layout.padded_keys; ++j) {
    row[j] = exp_f32(row[j] - top);
    sum += row[j];
  }
  const float inverse = 1.0f / sum;
#pragma omp simd
  for (int64_t j = 0; j < layout.padded_keys; ++j) row[j] *= inverse;
  return top + std::log(sum);
}

/// score and dp, the gradient of the probabilities, become p and ds = p · (dp − d), scaled.
void score_gradient_row(const Layout& layout, float log_sum_exp, float d, float* score, float* dp) {
#pragma omp simd
  for (int64_t j = 0; j < layout.keys; ++j) {
    const float p = exp_f32(score[j] - log_sum_exp);
    score[j] = p;
    dp[j] = p * (dp[j] - d) * layout.scale;
  }
}

float dot(const float* a, const float* b, int64_t count) {
  float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < count; ++i) sum += a[i] * b[i];
  return sum;
}

void forward_tile(const AttentionForward& args, const Layout& layout, int64_t image, int64_t head,
                  int64_t begin, int64_t end, float* scores) {
  const AttentionShape& shape = args.shape;
  const int64_t query = (image * shape.queries + begin) * layout.channels + head * layout.size;
  const float* q = static_cast<const float*>(args.q) + query;
  const float* k =
      static_cast<const float*>(args.kv) + image * shape.keys * 2 * layout.channels + head * layout.size;
  const float* v = k + layout.channels;
  float* log_sum_exp = args.log_sum_exp + (image * shape.heads + head) * shape.queries + begin;
  const int64_t rows = end - begin;
  gemm(rows, layout.keys, layout.size, {q, layout.channels}, {k, 2 * layout.channels, true}, 0.0f, scores,
       layout.padded_keys, layout.scale);
  for (int64_t row = 0; row < rows; ++row)
    log_sum_exp[row] = softmax_row(layout, scores + row * layout.padded_keys);
  gemm(rows, layout.size, layout.keys, {scores, layout.padded_keys}, {v, 2 * layout.channels}, 0.0f,
       static_cast<float*>(args.y) + query, layout.channels);
}

/// `dkv` points at the head's keys of the image; `beta` 0 starts its sums.
void backward_tile(const AttentionBackward& args, const Layout& layout, int64_t image, int64_t head,
                   int64_t begin, int64_t end, float* scores, float* dp, float* dkv, float beta) {
  const AttentionShape& shape = args.shape;
  const int64_t stride = layout.channels, padded = layout.padded_keys;
  const int64_t query = (image * shape.queries + begin) * stride + head * layout.size;
  const float* q = static_cast<const float*>(args.q) + query;
  const float* y = static_cast<const float*>(args.y) + query;
  const float* dy = static_cast<const float*>(args.dy) + query;
  const float* k = static_cast<const float*>(args.kv) + image * shape.keys * 2 * stride + head * layout.size;
  const float* v = k + stride;
  const float* log_sum_exp = args.log_sum_exp + (image * shape.heads + head) * shape.queries + begin;
  const int64_t rows = end - begin;
  gemm(rows, layout.keys, layout.size, {q, stride}, {k, 2 * stride, true}, 0.0f, scores, padded,
       layout.scale);
  gemm(rows, layout.keys, layout.size, {dy, stride}, {v, 2 * stride, true}, 0.0f, dp, padded);
  for (int64_t row = 0; row < rows; ++row)
    score_gradient_row(layout, log_sum_exp[row], dot(dy + row * stride, y + row * stride, layout.size),
                       scores + row * padded, dp + row * padded);
  gemm(rows, layout.size, layout.keys, {dp, padded}, {k, 2 * stride}, args.accumulate_dq ? 1.0f : 0.0f,
       static_cast<float*>(args.dq) + query, stride);
  gemm(layout.keys, layout.size, rows, {dp, padded, true}, {q, stride}, beta, dkv, 2 * stride);
  gemm(layout.keys, layout.size, rows, {scores, padded, true}, {dy, stride}, beta, dkv + stride, 2 * stride);
}

}  // namespace

void run(const AttentionForward& args, Queue& queue) {
  require_f32(args.dtype, args.name);
  const AttentionShape& shape = args.shape;
  const Layout layout(shape);
  const int64_t tiles = ceil_div(shape.queries, layout.tile_queries);
  float* const scratch = queue.scratch(queue.threads() * layout.tile_space());
  parallel_for(queue, shape.images * shape.heads * tiles, [&](int64_t index) {
    const int64_t begin = index % tiles * layout.tile_queries;
    const int64_t head = index / tiles % shape.heads, image = index / tiles / shape.heads;
    forward_tile(args, layout, image, head, begin,
                 std::min<int64_t>(shape.queries, begin + layout.tile_queries),
                 scratch + omp_get_thread_num() * layout.tile_space());
  });
}

void run(const AttentionBackward& args, Queue& queue) {
  require_f32(args.dtype, args.name);
  const AttentionShape& shape = args.shape;
  const Layout layout(shape);
  const int64_t parts = ceil_div(shape.queries, kPartQueries);
  const bool direct = parts == 1 && !args.accumulate_dkv;  // then a part's sums are the result
  float* const tiles =
      queue.scratch(queue.threads() * 2 * layout.tile_space() + (direct ? 0 : parts * shape.key_elements()));
  float* const partials =
      direct ? static_cast<float*>(args.dkv) : tiles + queue.threads() * 2 * layout.tile_space();

  parallel_for(queue, shape.images * shape.heads * parts, [&](int64_t index) {
    const int64_t part = index % parts;
    const int64_t head = index / parts % shape.heads, image = index / parts / shape.heads;
    float* scores = tiles + omp_get_thread_num() * 2 * layout.tile_space();
    float* dkv = partials + part * shape.key_elements() + image * shape.keys * 2 * layout.channels +
                 head * layout.size;
    const int64_t first = part * kPartQueries;
    const int64_t last = std::min<int64_t>(shape.queries, first + kPartQueries);
    for (int64_t begin = first; begin < last; begin += layout.tile_queries)
      backward_tile(args, layout, image, head, begin, std::min(last, begin + layout.tile_queries), scores,
                    scores + layout.tile_space(), dkv, begin == first ? 0.0f : 1.0f);
  });
  if (!direct)
    reduce_partials(queue, partials, parts, shape.key_elements(), shape.key_elements(),
                    static_cast<float*>(args.dkv), args.accumulate_dkv);
}

}  // namespace scrawl::cpu
