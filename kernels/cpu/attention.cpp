// Attention with few keys: for a tile of queries of one head the scores fit in the cache, so softmax needs no
// streaming.  Keys and values of the head are copied once for a part of the queries, as the products want
// them; the products of a tile find everything in the cache, with exponentials as vector code between them.
// Score rows are padded to whole vectors.  Backward recomputes the probabilities tile by tile; the gradients
// of keys and values are summed within fixed parts of the queries, and the parts are added in order.
// Cost: bound by the products; scratch is a few tiles and a copy of a head's keys and values a thread, plus
// one copy of dkv a part.  Limits: a tile's score row must fit in the cache, which holds up to some 10,000
// keys; head sizes off multiples of a vector leave lanes idle.
#include "kernels/attention.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/cpu/math.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/partial_sums.h"
#include "kernels/cpu/tile_product.h"
#include "kernels/cpu/transpose.h"

namespace scrawl::cpu {

namespace {

constexpr int64_t kPartQueries = 2048;  // queries whose dk and dv are summed in one go
constexpr int64_t kTileQueries = 96;    // rows of a tile of scores

constexpr int64_t whole_vectors(int64_t count) {
  return (count + kLanes - 1) / kLanes * kLanes;
}

struct Layout {
  explicit Layout(const AttentionShape& shape)
      : keys(shape.keys),
        size(shape.head_size),
        channels(shape.channels()),
        padded_keys(whole_vectors(shape.keys)),
        padded_size(whole_vectors(shape.head_size)),
        scale(1.0f / std::sqrt(static_cast<float>(shape.head_size))) {}
  int64_t keys, size, channels;
  int64_t padded_keys, padded_size;  // row strides of copies
  float scale;
  int64_t tile_space() const { return kTileQueries * padded_keys; }
  int64_t rows_space() const { return kTileQueries * padded_size; }
  /// Of keys or values, as rows or turned.
  int64_t copy_space() const { return std::max(keys * padded_size, size * padded_keys); }
};

/// copy[row] = the `size` values at from + row·stride.
void copy_rows(const float* from, int64_t stride, int64_t rows, const Layout& layout, float* copy) {
  for (int64_t row = 0; row < rows; ++row)
    std::copy_n(from + row * stride, layout.size, copy + row * layout.padded_size);
}

/// One row of scores becomes probabilities; returns log Σ e^score.  Padding gets probability 0.
float softmax_row(const Layout& layout, float* row) {
  constexpr float kLowest = -std::numeric_limits<float>::infinity();
  std::fill(row + layout.keys, row + layout.padded_keys, kLowest);
  Vector tops = Vector{} + kLowest;
  for (int64_t j = 0; j < layout.padded_keys; j += kLanes) {
    const Vector score = load(row + j);
    tops = score > tops ? score : tops;
  }
  const float top = maximum(tops);
  Vector sums{};
  for (int64_t j = 0; j < layout.padded_keys; j += kLanes) {
    const Vector p = exp_f32(load(row + j) - top);
    store(p, row + j);
    sums += p;
  }
  const float sum = total(sums), share = 1.0f / sum;
  for (int64_t j = 0; j < layout.padded_keys; j += kLanes) store(load(row + j) * share, row + j);
  return top + std::log(sum);
}

/// score and dp, the gradient of the probabilities, become p and ds = p · (dp − d), scaled.
void score_gradient_row(const Layout& layout, float log_sum_exp, float d, float* score, float* dp) {
  for (int64_t j = 0; j < layout.padded_keys; j += kLanes) {
    const Vector p = exp_f32(load(score + j) - log_sum_exp);
    store(p, score + j);
    store(p * (load(dp + j) - d) * layout.scale, dp + j);
  }
}

float dot(const float* a, const float* b, int64_t count) {
  float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < count; ++i) sum += a[i] * b[i];
  return sum;
}

/// A range of queries of one head of one image.
struct Part {
  int64_t image = 0, head = 0, begin = 0, end = 0;
  Part(const AttentionShape& shape, int64_t parts, int64_t index) {
    head = index / parts % shape.heads;
    image = index / parts / shape.heads;
    begin = index % parts * kPartQueries;
    end = std::min<int64_t>(shape.queries, begin + kPartQueries);
  }
  /// Offsets of the first query, and of the head's first key.
  int64_t query(const AttentionShape& shape) const {
    return (image * shape.queries + begin) * shape.channels() + head * shape.head_size;
  }
  int64_t key(const AttentionShape& shape) const {
    return image * shape.keys * 2 * shape.channels() + head * shape.head_size;
  }
  int64_t row(const AttentionShape& shape) const {
    return (image * shape.heads + head) * shape.queries + begin;
  }
};

/// Forward for one part of the queries; `scratch` is forward_space() long.
int64_t forward_space(const Layout& layout) {
  return layout.tile_space() + 2 * layout.copy_space();
}
void forward_part(const AttentionForward& args, const Layout& layout, const Part& part, float* scratch) {
  const AttentionShape& shape = args.shape;
  const int64_t stride = layout.channels;
  const float* q = static_cast<const float*>(args.q) + part.query(shape);
  const float* k = static_cast<const float*>(args.kv) + part.key(shape);
  float* y = static_cast<float*>(args.y) + part.query(shape);
  float* log_sum_exp = args.log_sum_exp + part.row(shape);
  float* const scores = scratch;
  float* const turned_keys = scores + layout.tile_space();
  float* const values = turned_keys + layout.copy_space();
  transpose(k, 2 * stride, layout.keys, layout.size, turned_keys, layout.padded_keys);
  copy_rows(k + stride, 2 * stride, layout.keys, layout, values);
  for (int64_t left = part.end - part.begin; left > 0; left -= kTileQueries) {
    const int64_t rows = std::min(left, kTileQueries);
    tile_product(rows, layout.keys, layout.size, {q, stride, 1}, turned_keys, layout.padded_keys, scores,
                 layout.padded_keys, layout.scale);
    for (int64_t row = 0; row < rows; ++row)
      log_sum_exp[row] = softmax_row(layout, scores + row * layout.padded_keys);
    tile_product(rows, layout.size, layout.keys, {scores, layout.padded_keys, 1}, values, layout.padded_size,
                 y, stride);
    q += rows * stride, y += rows * stride, log_sum_exp += rows;
  }
}

/// Backward for one part; `dkv` points at the head's gradients of keys, which it overwrites.  `scratch` is
/// backward_space() long.
int64_t backward_space(const Layout& layout) {
  return 2 * layout.tile_space() + 2 * layout.rows_space() + 3 * layout.copy_space();
}
void backward_part(const AttentionBackward& args, const Layout& layout, const Part& part, float* scratch,
                   float* dkv) {
  const AttentionShape& shape = args.shape;
  const int64_t stride = layout.channels, padded = layout.padded_keys, size = layout.padded_size;
  const float* q = static_cast<const float*>(args.q) + part.query(shape);
  const float* y = static_cast<const float*>(args.y) + part.query(shape);
  const float* dy = static_cast<const float*>(args.dy) + part.query(shape);
  float* dq = static_cast<float*>(args.dq) + part.query(shape);
  const float* k = static_cast<const float*>(args.kv) + part.key(shape);
  const float* log_sum_exp = args.log_sum_exp + part.row(shape);
  float* const scores = scratch;
  float* const dp = scores + layout.tile_space();
  float* const queries = dp + layout.tile_space();  // of the tile, and dy, as right-hand factors
  float* const gradients = queries + layout.rows_space();
  float* const keys = gradients + layout.rows_space();
  float* const turned_keys = keys + layout.copy_space();
  float* const turned_values = turned_keys + layout.copy_space();
  copy_rows(k, 2 * stride, layout.keys, layout, keys);
  transpose(k, 2 * stride, layout.keys, layout.size, turned_keys, layout.padded_keys);
  transpose(k + stride, 2 * stride, layout.keys, layout.size, turned_values, padded);
  bool first = true;
  for (int64_t left = part.end - part.begin; left > 0; left -= kTileQueries) {
    const int64_t rows = std::min(left, kTileQueries);
    copy_rows(q, stride, rows, layout, queries);
    copy_rows(dy, stride, rows, layout, gradients);
    tile_product(rows, layout.keys, layout.size, {queries, size, 1}, turned_keys, padded, scores, padded,
                 layout.scale);
    tile_product(rows, layout.keys, layout.size, {gradients, size, 1}, turned_values, padded, dp, padded);
    for (int64_t row = 0; row < rows; ++row)
      score_gradient_row(layout, log_sum_exp[row], dot(dy + row * stride, y + row * stride, layout.size),
                         scores + row * padded, dp + row * padded);
    tile_product(rows, layout.size, layout.keys, {dp, padded, 1}, keys, size, dq, stride, 1.0f,
                 args.accumulate_dq);
    tile_product(layout.keys, layout.size, rows, {dp, 1, padded}, queries, size, dkv, 2 * stride, 1.0f,
                 !first);
    tile_product(layout.keys, layout.size, rows, {scores, 1, padded}, gradients, size, dkv + stride,
                 2 * stride, 1.0f, !first);
    first = false;
    q += rows * stride, y += rows * stride, dy += rows * stride, dq += rows * stride, log_sum_exp += rows;
  }
}

}  // namespace

void run(const AttentionForward& args, Queue& queue) {
  require_f32(args.dtype, args.name);
  const AttentionShape& shape = args.shape;
  const Layout layout(shape);
  const int64_t parts = ceil_div(shape.queries, kPartQueries), space = forward_space(layout);
  float* const scratch = queue.scratch(queue.threads() * space);
  parallel_for(queue, shape.images * shape.heads * parts, [&](int64_t index) {
    forward_part(args, layout, Part(shape, parts, index), scratch + omp_get_thread_num() * space);
  });
}

void run(const AttentionBackward& args, Queue& queue) {
  require_f32(args.dtype, args.name);
  const AttentionShape& shape = args.shape;
  const Layout layout(shape);
  const int64_t parts = ceil_div(shape.queries, kPartQueries), space = backward_space(layout);
  const bool direct = parts == 1 && !args.accumulate_dkv;  // then a part's sums are the result
  float* const scratch = queue.scratch(queue.threads() * space + (direct ? 0 : parts * shape.key_elements()));
  float* const partials = direct ? static_cast<float*>(args.dkv) : scratch + queue.threads() * space;
  parallel_for(queue, shape.images * shape.heads * parts, [&](int64_t index) {
    const Part part(shape, parts, index);
    backward_part(args, layout, part, scratch + omp_get_thread_num() * space,
                  partials + index % parts * shape.key_elements() + part.key(shape));
  });
  if (!direct)
    reduce_partials(queue, partials, parts, shape.key_elements(), shape.key_elements(),
                    static_cast<float*>(args.dkv), args.accumulate_dkv);
}

}  // namespace scrawl::cpu
