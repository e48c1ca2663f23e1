// Consistency of two predictions, position by position, with s = softmax(a) and t = softmax(b):
//   loss = log Σ exp(s) − Σ t s               (t sums to one)
//   ds = softmax(s) − t,   da = s · (ds − Σ ds s)
//   db = t · (Σ t s − s)                      (the log Σ exp drops out of b's softmax)
// All rows of a position live in registers and the first cache; cost: three exponentials a value.
#include "kernels/consistency.h"

#include <cstring>
#include <vector>

#include "kernels/cpu/parallel.h"
#include "kernels/cpu/softmax.h"

namespace scrawl::cpu {
namespace {

constexpr int kMaxClasses = 256;
constexpr int64_t kPositions = 512;  // of a chunk

float dot(const float* a, const float* b, int n) {
  float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
  for (int i = 0; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

/// out = softmax(in); returns log Σ exp.
float softmax_of(const float* in, int n, float* out) {
  std::memcpy(out, in, n * sizeof(float));
  return softmax(out, n);
}

}  // namespace

void run(const ConsistencyForward& args, Queue& queue) {
  require_f32(args.dtype, args.name);
  const auto* a = static_cast<const float*>(args.a);
  const auto* b = static_cast<const float*>(args.b);
  const int classes = args.classes;
  std::vector<double> sums((args.positions + kPositions - 1) / kPositions);
  parallel_chunks(queue, args.positions, kPositions, [&](int64_t begin, int64_t end) {
    float s[kMaxClasses], t[kMaxClasses], u[kMaxClasses];
    double sum = 0.0;
    for (int64_t position = begin; position < end; ++position) {
      softmax_of(a + position * classes, classes, s);
      softmax_of(b + position * classes, classes, t);
      sum += softmax_of(s, classes, u) - dot(t, s, classes);
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
  const bool accumulate_da = args.accumulate_da, accumulate_db = args.accumulate_db;
  const float scale = args.dloss[0] / static_cast<float>(std::max<int64_t>(args.positions, 1));
  parallel_chunks(queue, args.positions, kPositions, [&](int64_t begin, int64_t end) {
    float s[kMaxClasses], t[kMaxClasses], ds[kMaxClasses];
    for (int64_t position = begin; position < end; ++position) {
      const int64_t offset = position * classes;
      softmax_of(a + offset, classes, s);
      softmax_of(b + offset, classes, t);
      if (da != nullptr) {
        softmax_of(s, classes, ds);
#pragma omp simd
        for (int k = 0; k < classes; ++k) ds[k] -= t[k];
        const float mean = dot(ds, s, classes);
        float* to = da + offset;
#pragma omp simd
        for (int k = 0; k < classes; ++k)
          to[k] = (accumulate_da ? to[k] : 0.0f) + scale * s[k] * (ds[k] - mean);
      }
      if (db != nullptr) {
        const float mean = dot(t, s, classes);
        float* to = db + offset;
#pragma omp simd
        for (int k = 0; k < classes; ++k)
          to[k] = (accumulate_db ? to[k] : 0.0f) + scale * t[k] * (mean - s[k]);
      }
    }
  });
}

}  // namespace scrawl::cpu
