// Consistency of two predictions, position by position, with s = softmax(a) and t = softmax(b):
//   loss = log Σ exp(s) − Σ t s               (t sums to one)
//   ds = softmax(s) − t,   da = s · (ds − Σ ds s)
//   db = t · (Σ t s − s)                      (the log Σ exp drops out of b's softmax)
// A vector of positions at a time, turned so that each class is a vector: sums over the few classes of a
// position need no sums across lanes.  Cost: three exponentials a value.
#include "kernels/consistency.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/cpu/math.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/transpose.h"
#include "kernels/cpu/vector.h"

namespace scrawl::cpu {
namespace {

constexpr int kMaxClasses = 256;
constexpr int64_t kPositions = 512;  // of a chunk, whole vectors

/// A value of every class for kLanes positions.
struct Classes {
  Vector at[kMaxClasses];
  float* data() { return reinterpret_cast<float*>(at); }
};

/// to (+)= the values of `positions` positions.
void store_positions(Classes& values, int positions, int classes, bool accumulate, float* to) {
  float turned[kLanes * kMaxClasses];
  transpose(values.data(), kLanes, classes, positions, turned, classes);
  if (accumulate) {
    for (int i = 0; i < positions * classes; ++i) to[i] += turned[i];
  } else {
    std::copy_n(turned, positions * classes, to);
  }
}

struct Normaliser {
  Vector top, sum;  // of exp(x − top)
};

/// out = softmax(in), which may be the same.
Normaliser softmax(const Classes& in, int classes, Classes& out) {
  Normaliser normaliser{in.at[0], {}};
  for (int k = 1; k < classes; ++k) normaliser.top = in.at[k] > normaliser.top ? in.at[k] : normaliser.top;
  for (int k = 0; k < classes; ++k) {
    out.at[k] = exp_f32(in.at[k] - normaliser.top);
    normaliser.sum += out.at[k];
  }
  const Vector share = 1.0f / normaliser.sum;
  for (int k = 0; k < classes; ++k) out.at[k] *= share;
  return normaliser;
}

/// out = softmax of `positions` positions, whose classes are neighbours; other lanes stay finite.
void softmax_of(const float* in, int positions, int classes, Classes& out) {
  transpose(in, classes, positions, classes, out.data(), kLanes);
  softmax(out, classes, out);
}

Vector dot(const Classes& a, const Classes& b, int classes) {
  Vector sum{};
  for (int k = 0; k < classes; ++k) sum += a.at[k] * b.at[k];
  return sum;
}

}  // namespace

void run(const ConsistencyForward& args, Queue& queue) {
  require_f32(args.dtype, args.name);
  const auto* a = static_cast<const float*>(args.a);
  const auto* b = static_cast<const float*>(args.b);
  const int classes = args.classes;
  std::vector<double> sums(ceil_div(args.positions, kPositions));
  parallel_chunks(queue, args.positions, kPositions, [&](int64_t begin, int64_t end) {
    Classes s{}, t{}, u;
    double sum = 0.0;
    for (int64_t first = begin; first < end; first += kLanes) {
      const int count = static_cast<int>(std::min<int64_t>(kLanes, end - first));
      softmax_of(a + first * classes, count, classes, s);
      softmax_of(b + first * classes, count, classes, t);
      const Normaliser again = softmax(s, classes, u);
      const Vector linear = again.top - dot(t, s, classes);
      for (int lane = 0; lane < count; ++lane) sum += linear[lane] + std::log(again.sum[lane]);
    }
    sums[begin / kPositions] = sum;
  });
  double total = 0.0;
  for (double sum : sums) total += sum;
  args.loss[0] = static_cast<float>(total / static_cast<double>(std::max<int64_t>(args.positions, 1)));
}

void run(const ConsistencyBackward& args, Queue& queue) {
  require_f32(args.dtype, args.name);
  const auto* a = static_cast<const float*>(args.a);
  const auto* b = static_cast<const float*>(args.b);
  auto* da = static_cast<float*>(args.da);
  auto* db = static_cast<float*>(args.db);
  const int classes = args.classes;
  const float scale = args.dloss / static_cast<float>(std::max<int64_t>(args.positions, 1));
  parallel_chunks(queue, args.positions, kPositions, [&](int64_t begin, int64_t end) {
    Classes s{}, t{}, d;
    for (int64_t first = begin; first < end; first += kLanes) {
      const int count = static_cast<int>(std::min<int64_t>(kLanes, end - first));
      softmax_of(a + first * classes, count, classes, s);
      softmax_of(b + first * classes, count, classes, t);
      if (da) {
        softmax(s, classes, d);
        for (int k = 0; k < classes; ++k) d.at[k] -= t.at[k];
        const Vector mean = dot(d, s, classes);
        for (int k = 0; k < classes; ++k) d.at[k] = scale * s.at[k] * (d.at[k] - mean);
        store_positions(d, count, classes, args.accumulate_da, da + first * classes);
      }
      if (db) {
        const Vector mean = dot(t, s, classes);
        for (int k = 0; k < classes; ++k) d.at[k] = scale * t.at[k] * (mean - s.at[k]);
        store_positions(d, count, classes, args.accumulate_db, db + first * classes);
      }
    }
  });
}

}  // namespace scrawl::cpu
