// Pixels attend to the prototypes of the classes in their image.  Few classes of many are present, so each
// image's prototypes are first copied next to each other and work is proportional to those.  Then tiles of
// queries go through two matrix products with a softmax between them.  Backward recomputes the probabilities
// from log_sum_exp; each task (some tiles of one image) leaves one partial sum of dp, added in order of
// images and tasks.  Scratch: the compacted prototypes, two tiles a thread, and a partial dp for each 1,024
// queries.  Bound by memory up to some 40 present prototypes, by the matrix products beyond.
#include "kernels/prototype_attention.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "kernels/cpu/gemm.h"
#include "kernels/cpu/math.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/softmax.h"

namespace scrawl::cpu {
namespace {

constexpr int kTile = 256;   // queries of a matrix product
constexpr int kTask = 1024;  // queries of one partial dp

/// Which prototypes each image may use: its first, one past its last among `chosen`.
struct Presence {
  std::vector<int> first;   // [images + 1]
  std::vector<int> chosen;  // prototype indices, rising within an image
  std::vector<int> place;   // [images, prototypes]: row among `chosen`, or −1

  Presence(const PrototypeAttentionShape& shape, const uint8_t* present) {
    for (int64_t image = 0; image < shape.images; ++image) {
      first.push_back(static_cast<int>(chosen.size()));
      for (int m = 0; m < shape.prototypes(); ++m) {
        const bool here = present[image * shape.classes + m / shape.slots] != 0;
        place.push_back(here ? static_cast<int>(chosen.size()) : -1);
        if (here) chosen.push_back(m);
      }
    }
    first.push_back(static_cast<int>(chosen.size()));
  }
  int count(int64_t image) const { return first[image + 1] - first[image]; }
};

/// Rows of p that images may use, next to each other: row i is prototype chosen[i].
void compact(const PrototypeAttentionShape& shape, const Presence& presence, const float* p, float* out) {
  for (int64_t image = 0; image < shape.images; ++image) {
    const float* set = p + (shape.prototype_sets == 1 ? 0 : image) * shape.prototypes() * shape.size;
    for (int row = presence.first[image]; row < presence.first[image + 1]; ++row)
      std::copy_n(set + int64_t{presence.chosen[row]} * shape.size, shape.size,
                  out + int64_t{row} * shape.size);
  }
}

/// One tile of queries and what belongs to it; rows of y and dy are 2·size apart.
struct Tile {
  int64_t queries;
  int size, count;
  const float* q;
  int64_t q_stride;
  const float* p;  // [count, size]
};

void forward_tile(const Tile& tile, float* y, float* log_sum_exp, float* scores) {
  const int64_t n = tile.queries;
  const int size = tile.size, count = tile.count;
  for (int64_t row = 0; row < n; ++row) {
    std::copy_n(tile.q + row * tile.q_stride, size, y + (2 * row + 1) * size);
    if (count > 0) continue;
    std::fill_n(y + 2 * row * size, size, 0.0f);
    log_sum_exp[row] = -std::numeric_limits<float>::infinity();
  }
  if (count == 0) return;
  gemm(n, count, size, {tile.q, tile.q_stride}, {tile.p, size, true}, 0.0f, scores, count);
  for (int64_t row = 0; row < n; ++row) log_sum_exp[row] = softmax(scores + row * count, count);
  gemm(n, size, count, {scores, count}, {tile.p, size}, 0.0f, y, 2 * size);
}

/// scores become probabilities, dscores (gradients of the probabilities) the gradients of the scores.
/// Probabilities are scaled to sum to one: log_sum_exp of large scores is rounded too coarsely for that, and
/// where one prototype takes all, what remains of its gradient would be that error.
void softmax_backward(const float* log_sum_exp, int64_t rows, int count, float* scores, float* dscores) {
  for (int64_t row = 0; row < rows; ++row, scores += count, dscores += count) {
    const float shift = log_sum_exp[row];
    float sum = 0.0f, product = 0.0f;
#pragma omp simd reduction(+ : sum, product)
    for (int i = 0; i < count; ++i) {
      scores[i] = exp_f32(scores[i] - shift);
      sum += scores[i];
      product += scores[i] * dscores[i];
    }
    const float share = 1.0f / sum, mean = product * share;
#pragma omp simd
    for (int i = 0; i < count; ++i) {
      scores[i] *= share;
      dscores[i] = scores[i] * (dscores[i] - mean);
    }
  }
}

/// dp [count, size]: overwritten by a task's first tile, added to by the others.
void backward_tile(const Tile& tile, const float* dy, const float* log_sum_exp, bool accumulate_dq, float* dq,
                   bool first, float* dp, float* scores) {
  const int64_t n = tile.queries;
  const int size = tile.size, count = tile.count;
  float* dscores = scores + n * count;
  for (int64_t row = 0; row < n; ++row) {
    const float* from = dy + (2 * row + 1) * size;
    float* to = dq + row * size;
#pragma omp simd
    for (int i = 0; i < size; ++i) to[i] = (accumulate_dq ? to[i] : 0.0f) + from[i];
  }
  if (count == 0) return;
  gemm(n, count, size, {tile.q, tile.q_stride}, {tile.p, size, true}, 0.0f, scores, count);
  gemm(n, count, size, {dy, 2 * size}, {tile.p, size, true}, 0.0f, dscores, count);
  softmax_backward(log_sum_exp, n, count, scores, dscores);
  gemm(n, size, count, {dscores, count}, {tile.p, size}, 1.0f, dq, size);
  gemm(count, size, n, {scores, count, true}, {dy, 2 * size}, first ? 0.0f : 1.0f, dp, size);
  gemm(count, size, n, {dscores, count, true}, {tile.q, tile.q_stride}, 1.0f, dp, size);
}

/// dp (+)= the partial sums of every image that shares a set, in order of images and tasks.
void reduce(const PrototypeAttentionBackward& args, const Presence& presence, int64_t tasks,
            const float* partials, Queue& queue) {
  constexpr int kBlock = 64;
  const PrototypeAttentionShape& shape = args.shape;
  const int size = shape.size, prototypes = shape.prototypes();
  const bool shared = shape.prototype_sets == 1;
  parallel_for(queue, shape.prototype_sets * prototypes, [&](int64_t index) {
    const int64_t set = index / prototypes, m = index % prototypes;
    float* dp = static_cast<float*>(args.dp) + index * size;
    for (int begin = 0; begin < size; begin += kBlock) {
      const int n = std::min(kBlock, size - begin);
      double sum[kBlock] = {};
      for (int64_t image = shared ? 0 : set; image < (shared ? shape.images : set + 1); ++image) {
        const int row = presence.place[image * prototypes + m];
        for (int64_t task = 0; row >= 0 && task < tasks; ++task) {
          // An image's partial sums: its tasks one after another, each with a row for every prototype of its.
          const int64_t at =
              presence.first[image] * tasks + task * presence.count(image) + row - presence.first[image];
          const float* partial = partials + at * size + begin;
#pragma omp simd
          for (int i = 0; i < n; ++i) sum[i] += partial[i];
        }
      }
      for (int i = 0; i < n; ++i)
        dp[begin + i] = (args.accumulate_dp ? dp[begin + i] : 0.0f) + static_cast<float>(sum[i]);
    }
  });
}

}  // namespace

void run(const PrototypeAttentionForward& args, Queue& queue) {
  require_f32(args.dtype, args.name);
  const auto* q = static_cast<const float*>(args.q);
  auto* y = static_cast<float*>(args.y);
  const PrototypeAttentionShape& shape = args.shape;
  const Presence presence(shape, args.present);
  const int64_t size = shape.size, kept = presence.chosen.size() * size;
  const int64_t stride = kTile * int64_t{shape.prototypes()};
  float* compacted = queue.scratch(kept + stride * queue.threads());
  compact(shape, presence, static_cast<const float*>(args.p), compacted);

  const int64_t tiles = ceil_div(shape.positions, kTile);
  parallel_for(queue, shape.images * tiles, [&](int64_t index) {
    const int64_t image = index / tiles, begin = index % tiles * kTile;
    const int64_t row = image * shape.positions + begin;
    const Tile tile{std::min<int64_t>(kTile, shape.positions - begin),
                    shape.size,
                    presence.count(image),
                    q + row * size,
                    size,
                    compacted + presence.first[image] * size};
    forward_tile(tile, y + 2 * row * size, args.log_sum_exp + row,
                 compacted + kept + omp_get_thread_num() * stride);
  });
}

void run(const PrototypeAttentionBackward& args, Queue& queue) {
  require_f32(args.dtype, args.name);
  const auto* q = static_cast<const float*>(args.y) + args.shape.size;  // in the right half of y
  const auto* dy = static_cast<const float*>(args.dy);
  auto* dq = static_cast<float*>(args.dq);
  const PrototypeAttentionShape& shape = args.shape;
  const Presence presence(shape, args.present);
  const int64_t tasks = ceil_div(shape.positions, kTask), size = shape.size;
  const int64_t kept = presence.chosen.size() * size;
  const int64_t stride = 2 * kTile * int64_t{shape.prototypes()};
  float* compacted = queue.scratch(kept + tasks * kept + stride * queue.threads());
  float* partials = compacted + kept;
  float* tiles = partials + tasks * kept;
  compact(shape, presence, static_cast<const float*>(args.p), compacted);

  parallel_for(queue, shape.images * tasks, [&](int64_t index) {
    const int64_t image = index / tasks, first = index % tasks * kTask;
    const int64_t end = std::min<int64_t>(shape.positions, first + kTask);
    const int count = presence.count(image);
    float* dp = partials + (presence.first[image] * tasks + index % tasks * count) * size;
    for (int64_t begin = first; begin < end; begin += kTile) {
      const int64_t row = image * shape.positions + begin;
      const Tile tile{
          std::min<int64_t>(kTile, end - begin),   shape.size, count, q + 2 * row * size, 2 * size,
          compacted + presence.first[image] * size};
      backward_tile(tile, dy + 2 * row * size, args.log_sum_exp + row, args.accumulate_dq, dq + row * size,
                    begin == first, dp, tiles + omp_get_thread_num() * stride);
    }
  });
  reduce(args, presence, tasks, partials, queue);
}

}  // namespace scrawl::cpu
