// Consistency of two predictions, position by position, with s = softmax(a) and t = softmax(b):
//   loss = log Σ exp(s) − Σ t s               (t sums to one)
//   ds = softmax(s) − t,   da = s · (ds − Σ ds s)
//   db = t · (Σ t s − s)                      (the log Σ exp drops out of b's softmax)
// Rows of as many values as there are classes are no whole packs, so a block copies all of its positions to
// shared memory, 16 bytes at a time, and its gradients back from there.  A thread keeps a position of up to
// 21 classes (as many as VOC has) in registers and needs no other; more classes are shared by lanes.  Since s
// lies in [0, 1], exp(s − 1) stands for exp(s) without a search for its maximum.  Forward leaves a partial
// sum a block, which the last block adds in order.
// Cost: bound by memory; three exponentials a value (backward four) and some twenty instructions beside.
// Limits: 256 classes.
#include "kernels/consistency.h"

#include "kernels/cuda/device/async_copy.cuh"
#include "kernels/cuda/device/class_row.cuh"
#include "kernels/cuda/device/elementwise.cuh"
#include "kernels/cuda/device/last_block.cuh"
#include "kernels/cuda/device/launch.cuh"
#include "kernels/cuda/device/storage.cuh"

namespace scrawl::SCRAWL_GPU {

namespace {

constexpr int kThreads = 128;

/// One position: s and t, and what both directions need of them.
template <typename Row>
struct Pair {
  Row s, t;
  float power_sum, agreement, mean;  // Σ exp(s − 1), Σ t s, Σ exp(s − 1) s

  template <typename T>
  __device__ Pair(const T* a, const T* b, int classes) : s(Row::load(a, classes)), t(Row::load(b, classes)) {
    s.softmax();
    t.softmax();
    power_sum = agreement = mean = 0.0f;
#pragma unroll
    for (int i = 0; i < Row::slots; ++i) {
      const float power = Row::class_of(i) < classes ? power_of(i) : 0.0f;
      power_sum += power;
      agreement += t.values[i] * s.values[i];
      mean += power * s.values[i];
    }
    power_sum = Row::sum_over_lanes(power_sum);
    agreement = Row::sum_over_lanes(agreement);
    mean = Row::sum_over_lanes(mean);
  }
  __device__ float power_of(int slot) const {
    return fast_exp(s.values[slot] - 1.0f);
  }
};

/// The positions of a block, as a stretch of every map.  Loops take few turns: unrolled, they are longer to
/// fetch than to run.
struct Stretch {
  int64_t first;  // value
  int values;
  bool aligned;  // to 16 bytes

  template <typename T>
  __device__ void fetch(const T* map, T* staged) const {
    const int packed = aligned ? values / kPackWidth<T> * kPackWidth<T> : 0;
#pragma unroll 1
    for (int i = threadIdx.x * kPackWidth<T>; i < packed; i += kThreads * kPackWidth<T>)
      copy_async<16>(staged + i, map + first + i);
#pragma unroll 1
    for (int i = packed + threadIdx.x; i < values; i += kThreads) staged[i] = map[first + i];
  }
  template <typename T>
  __device__ void put_back(const T* staged, T* map) const {
    const int packed = aligned ? values / kPackWidth<T> * kPackWidth<T> : 0;
#pragma unroll 2
    for (int i = threadIdx.x * kPackWidth<T>; i < packed; i += kThreads * kPackWidth<T>)
      store_pack(map + first + i, load_pack<kPackWidth<T>>(staged + i));
#pragma unroll 1
    for (int i = packed + threadIdx.x; i < values; i += kThreads) map[first + i] = staged[i];
  }
};
__device__ void wait_for_fetches() {
  commit_copies();
  wait_copies();
  __syncthreads();
}

/// How positions are cut into blocks.
template <typename T, typename Row>
struct Cut {
  static constexpr int kPositions = kThreads / Row::lanes;  // of a block
  int64_t positions;
  int classes;
  bool aligned;

  Cut(int64_t count, int row, std::initializer_list<const void*> maps)
      : positions(count), classes(row), aligned(packable(kPositions * row, maps) % kPackWidth<T> == 0) {}
  int64_t blocks() const { return ceil_div(positions, kPositions); }
  /// From one staged map to the next, in bytes.
  int64_t staged_bytes() const {
    return ceil_div(kPositions * classes * static_cast<int64_t>(sizeof(T)), 16) * 16;
  }

  __device__ T* staged(int map) const {
    const int bytes = (kPositions * classes * static_cast<int>(sizeof(T)) + 15) / 16 * 16;
    return reinterpret_cast<T*>(dynamic_shared<unsigned char>() + map * bytes);
  }
  __device__ Stretch stretch() const {
    const int64_t first = int64_t{blockIdx.x} * kPositions;
    return {first * classes, static_cast<int>(min(int64_t{kPositions}, positions - first)) * classes,
            aligned};
  }
  /// Where this thread's position begins in a staged map, or none.
  __device__ int row() const {
    const int position = threadIdx.x / Row::lanes;
    return int64_t{blockIdx.x} * kPositions + position < positions ? position * classes : -1;
  }
};

template <typename T, typename Row>
__global__ void __launch_bounds__(kThreads)
    forward(const T* a, const T* b, Cut<T, Row> cut, float* partials, unsigned* counter, float* mean) {
  const Stretch stretch = cut.stretch();
  stretch.fetch(a, cut.staged(0));
  stretch.fetch(b, cut.staged(1));
  wait_for_fetches();
  float loss = 0.0f;
  if (const int row = cut.row(); row >= 0) {
    const Pair<Row> pair(cut.staged(0) + row, cut.staged(1) + row, cut.classes);
    if (Row::lane() == 0) loss = logf(pair.power_sum) + (1.0f - pair.agreement);
  }
  loss = block_sum(loss);
  if (threadIdx.x == 0) partials[blockIdx.x] = loss;
  if (!is_last_block(counter, gridDim.x)) return;
  float sum = 0.0f;
#pragma unroll 8
  for (unsigned i = threadIdx.x; i < gridDim.x; i += kThreads) sum += partials[i];
  sum = block_sum(sum);
  if (threadIdx.x == 0) mean[0] = cut.positions > 0 ? sum / static_cast<float>(cut.positions) : 0.0f;
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
    backward(const T* a, const T* b, float dloss, Cut<T, Row> cut, Gradients<T> to) {
  const Stretch stretch = cut.stretch();
  T *const da = cut.staged(2), *const db = cut.staged(3);
  stretch.fetch(a, cut.staged(0));
  stretch.fetch(b, cut.staged(1));
  if (to.accumulate_da) stretch.fetch(to.da, da);
  if (to.accumulate_db) stretch.fetch(to.db, db);
  const float scale = dloss / static_cast<float>(cut.positions);
  wait_for_fetches();
  if (const int row = cut.row(); row >= 0) {
    const Pair<Row> pair(cut.staged(0) + row, cut.staged(1) + row, cut.classes);
    const float share = 1.0f / pair.power_sum, mean = pair.mean * share - pair.agreement;
#pragma unroll
    for (int i = 0; i < Row::slots; ++i) {
      const int k = Row::class_of(i);
      if (k >= cut.classes) break;
      const float s = pair.s.values[i], t = pair.t.values[i];
      put(da + row + k, scale * s * (pair.power_of(i) * share - t - mean), to.accumulate_da);
      put(db + row + k, scale * t * (pair.agreement - s), to.accumulate_db);
    }
  }
  __syncthreads();
  if (to.da) stretch.put_back(da, to.da);
  if (to.db) stretch.put_back(db, to.db);
}

template <typename Body>
void with_row(int classes, std::string_view kernel, Body body) {
  if (classes <= 21) return body(ClassRow<1, 21>{});
  with_class_row(classes, kernel, body);
}

}  // namespace

void run(const ConsistencyForward& args, Queue& queue) {
  with_storage(args.dtype, args.name, [&]<typename T>(Storage<T>) {
    with_row(args.classes, args.name, [&]<typename Row>(Row) {
      const Cut<T, Row> cut(args.positions, args.classes, {args.a, args.b});
      const int64_t blocks = std::max<int64_t>(1, cut.blocks());
      const Scratch partials = queue.scratch(blocks);
      launch(
          queue,
          {.name = args.name, .grid = {blocks}, .block = {kThreads}, .shared_bytes = 2 * cut.staged_bytes()},
          forward<T, Row>, static_cast<const T*>(args.a), static_cast<const T*>(args.b), cut, partials.data(),
          queue.counters(1), args.loss);
    });
  });
}

void run(const ConsistencyBackward& args, Queue& queue) {
  with_storage(args.dtype, args.name, [&]<typename T>(Storage<T>) {
    with_row(args.classes, args.name, [&]<typename Row>(Row) {
      const Cut<T, Row> cut(args.positions, args.classes, {args.a, args.b, args.da, args.db});
      const Gradients<T> to{static_cast<T*>(args.da), static_cast<T*>(args.db), args.accumulate_da,
                            args.accumulate_db};
      launch(queue,
             {.name = args.name,
              .grid = {cut.blocks()},
              .block = {kThreads},
              .shared_bytes = 4 * cut.staged_bytes()},
             backward<T, Row>, static_cast<const T*>(args.a), static_cast<const T*>(args.b), args.dloss, cut,
             to);
    });
  });
}

}  // namespace scrawl::SCRAWL_GPU
