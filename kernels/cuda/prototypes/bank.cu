// The bank of prototypes: one block per class, which takes the images that have it 16 at a time.  Warps
// compute, in double, the products of these prototypes with all slots and with each other, tile by tile; from
// there on one warp knows all cosines: a slot that moves is a sum of vectors whose products are known.  So it
// chooses the slots of all images in order, and then every thread moves its channels of them.  (The CPU
// compares slots as rounded to fp32: cosines differ by some 1e-8.)
// Cost: latency, of a chain through all images of a class.
// Limits: slots and prototypes beyond 96 KiB stay in global memory, which is slower.  Products are always in
// shared memory, 136 bytes a slot: a block's 99 KiB, the least that GPUs have, hold those of 700 slots.
#include "kernels/prototypes.h"

#include <bit>

#include "kernels/cuda/device/launch.cuh"
#include "kernels/cuda/device/math.cuh"
#include "kernels/cuda/device/warp.cuh"

namespace scrawl::SCRAWL_GPU {

namespace {

constexpr int kThreads = 512, kWarps = kThreads / kWarpSize;
constexpr int kTurns = 16;  // of images that are prepared together
constexpr int64_t kStagedBytes = 96 * 1024;

/// 1 / max(√square, 1e-8), to some 1e-14: shorter than a root and a division.
__device__ double inverse_norm(double square) {
  square = fmax(square, 1e-16);
  double inverse = rsqrt(static_cast<float>(square));
#pragma unroll
  for (int i = 0; i < 2; ++i) inverse *= 1.5 - 0.5 * square * inverse * inverse;
  return inverse;
}

/// A class's slots and some images that have it, in order; and inner products in double: rows are images,
/// columns slots and, behind them, images.
struct ClassBank {
  float* slots;
  int channels, slot_count;
  const float* prototypes;  // of the class, image by image
  int64_t stride;           // from one image's to the next
  const int* images;
  int turns;
  double* products;  // [kTurns, columns()]
  double* squares;   // of the slots
  float keep, take;

  __host__ __device__ static int columns(int slots) { return slots + kTurns; }
  __device__ const float* prototype(int turn) const { return prototypes + images[turn] * stride; }
  __device__ const float* vector(int column) const {
    return column < slot_count ? slots + int64_t{column} * channels : prototype(column - slot_count);
  }
  __device__ double& product(int turn, int column) const {
    return products[turn * columns(slot_count) + column];
  }
  __device__ double& product_of_images(int turn, int other) const {
    return product(turn, slot_count + other);
  }

  /// Products of two images with four columns, by one warp; the last ones again beyond the ends.
  __device__ void multiply(int first_turn, int first, int used) const {
    constexpr int kImages = 2, kColumns = 4;
    const float *left[kImages], *right[kColumns];
    double* results[kImages][kColumns];
#pragma unroll
    for (int j = 0; j < kColumns; ++j) {
      const int index = min(first + j, used + turns - 1);
      const int column = index < used ? index : slot_count + index - used;
      right[j] = vector(column);
#pragma unroll
      for (int i = 0; i < kImages; ++i) {
        const int turn = min(first_turn + i, turns - 1);
        left[i] = prototype(turn);
        results[i][j] = &product(turn, column);
      }
    }
    double sums[kImages][kColumns] = {};
#pragma unroll 2
    for (int c = lane_index(); c < channels; c += kWarpSize) {
      double a[kImages];
#pragma unroll
      for (int i = 0; i < kImages; ++i) a[i] = left[i][c];
#pragma unroll
      for (int j = 0; j < kColumns; ++j) {
        const double b = right[j][c];
#pragma unroll
        for (int i = 0; i < kImages; ++i) sums[i][j] += a[i] * b;
      }
    }
#pragma unroll
    for (int i = 0; i < kImages; ++i)
#pragma unroll
      for (int j = 0; j < kColumns; ++j) {
        sums[i][j] = warp_sum(sums[i][j]);
        if (lane_index() == 0) *results[i][j] = sums[i][j];
      }
  }
  __device__ void multiply_all(int used) const {
    const int across = (used + turns + 3) / 4, tiles = (turns + 1) / 2 * across;
    for (int i = warp_index(); i < tiles; i += kWarps) multiply(i / across * 2, i % across * 4, used);
    for (int slot = kWarps - 1 - warp_index(); slot < used; slot += kWarps) {
      double sum = 0.0;
#pragma unroll 4
      for (int c = lane_index(); c < channels; c += kWarpSize) {
        const double value = slots[int64_t{slot} * channels + c];
        sum += value * value;
      }
      sum = warp_sum(sum);
      if (lane_index() == 0) squares[slot] = sum;
    }
  }

  /// The slot of highest cosine, the first of equals, by one warp.  The image's own norm is left out: it
  /// divides all of them alike.
  __device__ int most_similar(int turn) const {
    uint64_t highest = 0;
    int best = 0;
#pragma unroll 1
    for (int slot = lane_index(); slot < slot_count; slot += kWarpSize) {
      const auto bits = std::bit_cast<uint64_t>(product(turn, slot) * inverse_norm(squares[slot]));
      const uint64_t key = bits >> 63 != 0 ? ~bits : bits | uint64_t{1} << 63;  // sorts like the cosine
      if (key <= highest) continue;
      highest = key;
      best = slot;
    }
    const auto upper = static_cast<unsigned>(highest >> 32), lower = static_cast<unsigned>(highest);
    const bool leads = upper == __reduce_max_sync(kFullWarp, upper);
    const unsigned last = __reduce_max_sync(kFullWarp, leads ? lower : 0u);
    return __reduce_min_sync(kFullWarp, leads && lower == last ? best : slot_count - 1);
  }

  /// Which slot each image moves, by one warp.  A slot that moved is a sum of vectors whose products are
  /// known.
  __device__ void choose(int used, int* choices) const {
    for (int turn = 0; turn < turns; ++turn) {
      const bool full = used == slot_count;
      const int slot = full ? most_similar(turn) : used++;
      if (lane_index() == 0) choices[turn] = slot;
      const double square = product_of_images(turn, turn), dot = full ? product(turn, slot) : 0.0;
      const double old = full ? squares[slot] : 0.0;
      __syncwarp();
      if (lane_index() == 0)
        squares[slot] =
            full ? double{keep} * keep * old + 2.0 * keep * take * dot + double{take} * take * square
                 : square;
      if (const int later = lane_index(); later > turn && later < turns) {
        const double with = product_of_images(turn, later);
        double& value = product(later, slot);
        value = full ? keep * value + take * with : with;
      }
      __syncwarp();
    }
  }

  /// The chosen slots move; each thread has channels of its own.
  __device__ void move(int used, const int* choices) const {
    constexpr int kAhead = 4;  // turns whose values are on their way
    for (int c = threadIdx.x; c < channels; c += kThreads)
      for (int first = 0; first < turns; first += kAhead) {
        float values[kAhead];
        float* targets[kAhead];
#pragma unroll
        for (int i = 0; i < kAhead; ++i) {
          const int turn = min(first + i, turns - 1);
          values[i] = prototype(turn)[c];
          targets[i] = slots + int64_t{choices[turn]} * channels + c;
        }
#pragma unroll
        for (int i = 0; i < kAhead; ++i)
          if (first + i < turns)
            *targets[i] = used + first + i < slot_count ? values[i] : keep * *targets[i] + take * values[i];
      }
  }
};

/// Lists the images that have a class, by one warp; returns their number.
__device__ int list_images(const uint8_t* present, int images, int classes, int* list) {
  int found = 0;
#pragma unroll 1
  for (int first = 0; first < images; first += kWarpSize) {
    const int mine = first + lane_index();
    const bool has = mine < images && present[int64_t{mine} * classes] != 0;
    const unsigned votes = __ballot_sync(kFullWarp, has);
    if (has) list[found + __popc(votes & ((1u << lane_index()) - 1))] = mine;
    found += __popc(votes);
  }
  return found;
}

/// Copies rows of `channels` floats one behind the other, by some of the block's threads.
template <typename Row>
__device__ void stage_rows(int rows, int channels, int thread, int threads, Row row, float* to) {
#pragma unroll 8
  for (int i = thread; i < rows * channels; i += threads) to[i] = row(i / channels)[i % channels];
}

__global__ void __launch_bounds__(kThreads, 1)
    update_bank(const float* prototypes, const uint8_t* present, float* bank, int32_t* filled, int images,
                int classes, int slots, int channels, float keep, float take, bool staged) {
  const int category = blockIdx.x;
  float* const home = bank + int64_t{category} * slots * channels;
  prototypes += int64_t{category} * channels;
  const int64_t stride = int64_t{classes} * channels;
  auto* const products = dynamic_shared<double>();
  auto* const squares = products + kTurns * ClassBank::columns(slots);
  int* const list = reinterpret_cast<int*>(squares + slots);
  float* const memory = reinterpret_cast<float*>(list + images);
  auto& in_order = shared<int[kTurns], struct InOrder>();  // as a group's images lie in shared memory
  auto& choices = shared<int[kTurns], struct Choices>();
  auto& image_count = shared<int, struct ImageCount>();
  int used = filled[category];
  if (warp_index() == 0) {
    const int count = list_images(present + category, images, classes, list);
    if (lane_index() == 0) image_count = count;
  } else if (staged) {
    stage_rows(
        slots, channels, threadIdx.x - kWarpSize, kThreads - kWarpSize,
        [&](int slot) { return home + int64_t{slot} * channels; }, memory);
  }
  if (threadIdx.x < kTurns) in_order[threadIdx.x] = threadIdx.x;
  __syncthreads();
  if (image_count == 0) return;
  for (int first = 0; first < image_count; first += kTurns) {
    const int turns = min(kTurns, image_count - first);
    float* const rows = memory + slots * channels;
    if (staged)
      stage_rows(
          turns, channels, threadIdx.x, kThreads,
          [&](int turn) { return prototypes + list[first + turn] * stride; }, rows);
    __syncthreads();
    const ClassBank state{staged ? memory : home,
                          channels,
                          slots,
                          staged ? rows : prototypes,
                          staged ? channels : stride,
                          staged ? in_order : list + first,
                          turns,
                          products,
                          squares,
                          keep,
                          take};
    state.multiply_all(used);
    __syncthreads();
    if (warp_index() == 0) state.choose(used, choices);
    __syncthreads();
    state.move(used, choices);
    used = min(used + turns, slots);
    __syncthreads();
  }
  for (int i = threadIdx.x; staged && i < used * channels; i += kThreads) home[i] = memory[i];
  if (threadIdx.x == 0) filled[category] = used;
}

}  // namespace

void run(const BankUpdate& args, Queue& queue) {
  const int64_t tables =
      (kTurns * ClassBank::columns(args.slots) + args.slots) * static_cast<int64_t>(sizeof(double)) +
      args.images * static_cast<int64_t>(sizeof(int));
  const int64_t rows = (int64_t{args.slots} + kTurns) * args.channels * static_cast<int64_t>(sizeof(float));
  const bool staged = tables + rows <= kStagedBytes;
  launch(queue,
         LaunchShape{.name = args.name,
                     .grid = {args.classes},
                     .block = {kThreads},
                     .shared_bytes = tables + (staged ? rows : 0)},
         update_bank, args.prototypes, args.present, args.bank, args.filled, static_cast<int>(args.images),
         args.classes, args.slots, args.channels, args.rate, static_cast<float>(1.0 - args.rate), staged);
}

}  // namespace scrawl::SCRAWL_GPU
