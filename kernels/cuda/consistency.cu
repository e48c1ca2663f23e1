// Consistency of two predictions, position by position, with s = softmax(a) and t = softmax(b):
//   loss = log Σ exp(s) − Σ t s               (t sums to one)
//   ds = softmax(s) − t,   da = s · (ds − Σ ds s)
//   db = t · (Σ t s − s)                      (the log Σ exp drops out of b's softmax)
// Eight lanes share a position of up to 32 classes and keep it in registers: one read of a and b, one write
// of da and db, no second pass.  Since s lies in [0, 1], exp(s − 1) stands for exp(s) without a search for
// its maximum. Forward leaves a partial sum a block, which one block adds in order. Cost: bound by memory;
// three exponentials a value and about thirty instructions beside. Limits: 256 classes.
#include "kernels/consistency.h"

#include "kernels/cuda/device/class_row.cuh"
#include "kernels/cuda/device/launch.cuh"
#include "kernels/cuda/device/storage.cuh"

namespace scrawl::SCRAWL_GPU {

namespace {

constexpr int kThreads = 256;
constexpr int64_t kMaxBlocks = 1024;  // that leave partial sums; more positions make each block loop

/// One position: s and t, and what both directions need of them.
template <typename Row>
struct Pair {
  Row s, t, power;             // power = exp(s), 0 beyond the last class
  float power_sum, agreement;  // Σ exp(s − 1), Σ t s

  template <typename T>
  __device__ Pair(const T* a, const T* b, int classes) : s(Row::load(a, classes)), t(Row::load(b, classes)) {
    s.softmax();
    t.softmax();
    power_sum = agreement = 0.0f;
#pragma unroll
    for (int i = 0; i < Row::slots; ++i) {
      power.values[i] = Row::class_of(i) < classes ? fast_exp(s.values[i] - 1.0f) : 0.0f;
      power_sum += power.values[i];
      agreement += t.values[i] * s.values[i];
    }
    power_sum = Row::sum_over_lanes(power_sum);
    agreement = Row::sum_over_lanes(agreement);
  }
};

template <typename T, typename Row>
__global__ void __launch_bounds__(kThreads)
    forward(const T* a, const T* b, int64_t positions, int classes, float* partials) {
  const int rows = kThreads / Row::lanes;
  float loss = 0.0f;
  for (int64_t position = int64_t{blockIdx.x} * rows + threadIdx.x / Row::lanes; position < positions;
       position += int64_t{gridDim.x} * rows) {
    const Pair<Row> pair(a + position * classes, b + position * classes, classes);
    if (Row::lane() == 0) loss += logf(pair.power_sum) + (1.0f - pair.agreement);
  }
  loss = block_sum(loss);
  if (threadIdx.x == 0) partials[blockIdx.x] = loss;
}

__global__ void __launch_bounds__(kThreads)
    finish(const float* partials, int count, int64_t positions, float* loss) {
  float sum = 0.0f;
  for (int i = threadIdx.x; i < count; i += kThreads) sum += partials[i];
  sum = block_sum(sum);
  if (threadIdx.x == 0) loss[0] = positions > 0 ? sum / static_cast<float>(positions) : 0.0f;
}

template <typename T>
__device__ void put(T* to, float value, bool accumulate) {
  *to = as_storage<T>(accumulate ? as_float(*to) + value : value);
}

template <typename T>
struct Gradients {
  T *da, *db;
  bool accumulate_da, accumulate_db;
};

template <typename T, typename Row>
__global__ void __launch_bounds__(kThreads)
    backward(const T* a, const T* b, const float* dloss, int64_t positions, int classes, Gradients<T> to) {
  const int64_t position = (int64_t{blockIdx.x} * kThreads + threadIdx.x) / Row::lanes;
  if (position >= positions) return;
  const Pair<Row> pair(a + position * classes, b + position * classes, classes);
  const float scale = dloss[0] / static_cast<float>(positions), share = 1.0f / pair.power_sum;
  float mean = 0.0f;  // Σ softmax(s) s
#pragma unroll
  for (int i = 0; i < Row::slots; ++i) mean += pair.power.values[i] * share * pair.s.values[i];
  mean = Row::sum_over_lanes(mean) - pair.agreement;
#pragma unroll
  for (int i = 0; i < Row::slots; ++i) {
    const int k = Row::class_of(i);
    if (k >= classes) break;
    const float s = pair.s.values[i], t = pair.t.values[i];
    const int64_t at = position * classes + k;
    if (to.da) put(to.da + at, scale * s * (pair.power.values[i] * share - t - mean), to.accumulate_da);
    if (to.db) put(to.db + at, scale * t * (pair.agreement - s), to.accumulate_db);
  }
}

}  // namespace

void run(const ConsistencyForward& args, Queue& queue) {
  with_storage(args.dtype, args.name, [&]<typename T>(Storage<T>) {
    with_class_row(args.classes, args.name, [&]<typename Row>(Row) {
      const int64_t blocks = std::min(kMaxBlocks, ceil_div(args.positions, kThreads / Row::lanes));
      float* partials = queue.scratch(kMaxBlocks);
      launch(queue, {.name = args.name, .grid = {blocks}, .block = {kThreads}}, forward<T, Row>,
             static_cast<const T*>(args.a), static_cast<const T*>(args.b), args.positions, args.classes,
             partials);
      launch(queue, {.name = args.name, .grid = {1}, .block = {kThreads}}, finish, partials,
             static_cast<int>(blocks), args.positions, args.loss);
    });
  });
}

void run(const ConsistencyBackward& args, Queue& queue) {
  with_storage(args.dtype, args.name, [&]<typename T>(Storage<T>) {
    with_class_row(args.classes, args.name, [&]<typename Row>(Row) {
      const Gradients<T> to{static_cast<T*>(args.da), static_cast<T*>(args.db), args.accumulate_da,
                            args.accumulate_db};
      launch(
          queue,
          {.name = args.name, .grid = {ceil_div(args.positions * Row::lanes, kThreads)}, .block = {kThreads}},
          backward<T, Row>, static_cast<const T*>(args.a), static_cast<const T*>(args.b), args.dloss,
          args.positions, args.classes, to);
    });
  });
}

}  // namespace scrawl::SCRAWL_GPU
