// Prototypes of an image's classes: one block per image and class; absent classes end at once.
// The activations of all positions become integer keys that sort like them, in shared memory.  A radix
// search, two bits at a time from the top, narrows down where the key lies that `top` keys reach: each step
// counts the keys above three candidates.  It starts below the sixth bit if the key lies between 1/128 and 2,
// as it mostly does, and ends as soon as few keys are left; these are compared with each other.  Then the
// chosen positions are listed, those above the cut and then those on it, warps take them in turn and read
// their features, a row by all lanes together and twelve rows under way, and add their sums over warps in
// order.
// Cost: a strided read of the logits (a sector of 32 bytes a position and present class), then `top` rows of
// features; a step of the search is some ten instructions a key and one barrier, and listing takes as long.
// Limits: keys of more than about 18,000 positions lie in global memory, which is slower.
#include "kernels/prototypes.h"

#include <limits>

#include "kernels/cuda/device/elementwise.cuh"
#include "kernels/cuda/device/launch.cuh"
#include "kernels/cuda/device/math.cuh"
#include "kernels/cuda/device/storage.cuh"
#include "kernels/cuda/device/vector.cuh"
#include "kernels/cuda/device/warp.cuh"

namespace scrawl::SCRAWL_GPU {

namespace {

constexpr int kThreads = 512, kWarps = kThreads / kWarpSize;
static_assert(kWarps <= kWarpSize);  // a warp reads what all of them found
constexpr int64_t kSharedBytes = 80 * 1024;
constexpr int kLogitsAhead = 16;  // whose loads a thread starts before it looks at the first
constexpr int kRowsAhead = 12;    // of features, likewise for a warp

/// A larger activation has a larger key.
__device__ unsigned key_of(float activation) {
  const unsigned bits = __float_as_uint(activation);
  return bits >> 31 != 0 ? ~bits : bits | 0x80000000u;
}
__device__ float activation_of(unsigned key) {
  return __uint_as_float(key >> 31 != 0 ? key & 0x7FFFFFFFu : ~key);
}

/// Keys of one class's activations; logits: its first value, `stride` to the next.
template <typename T>
__device__ void make_keys(const T* logits, int stride, int positions, unsigned* keys) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  float low = kInfinity, high = -kInfinity;
  for (int first = threadIdx.x; first < positions; first += kLogitsAhead * kThreads) {
    float a[kLogitsAhead];  // the last position's again beyond it
#pragma unroll
    for (int i = 0; i < kLogitsAhead; ++i)
      a[i] = as_float(logits[int64_t{min(first + i * kThreads, positions - 1)} * stride]);
#pragma unroll
    for (int i = 0; i < kLogitsAhead; ++i) {
      a[i] = a[i] < 0.0f ? 0.0f : a[i];
      low = a[i] < low ? a[i] : low;
      high = a[i] > high ? a[i] : high;
    }
#pragma unroll
    for (int i = 0; i < kLogitsAhead; ++i)
      if (first + i * kThreads < positions) keys[first + i * kThreads] = __float_as_uint(a[i]);
  }
  auto& extremes = shared<float[2][kWarps], struct Extremes>();
  low = -warp_max(-low);
  high = warp_max(high);
  if (lane_index() == 0) {
    extremes[0][warp_index()] = low;
    extremes[1][warp_index()] = high;
  }
  __syncthreads();
  low = -warp_max(-extremes[0][lane_index() % kWarps]);
  high = warp_max(extremes[1][lane_index() % kWarps]);
  const float threshold = low + 1e-5f, scale = 1.0f / (high - low + 1e-5f);
#pragma unroll 4
  for (int i = threadIdx.x; i < positions; i += kThreads) {
    const float a = __uint_as_float(keys[i]);
    keys[i] = key_of(((a < threshold ? 0.0f : a) - low - 1e-5f) * scale);
  }
  __syncthreads();
}

/// Counts over the block, one after another, of up to three conditions at a time: one barrier each.
class Counter {
 public:
  struct Counts {
    int values[3];
  };
  /// predicate(i, j): whether position i meets condition j.
  template <int conditions = 1, typename Predicate>
  __device__ Counts count(int positions, Predicate predicate) {
    auto& sums = shared<int[2][3][kWarps], struct CounterSums>();
    Counts counts{};
#pragma unroll 4
    for (int i = threadIdx.x; i < positions; i += kThreads)
#pragma unroll
      for (int j = 0; j < conditions; ++j) counts.values[j] += predicate(i, j);
    turn_ ^= 1;  // the last count's sums may still be read
#pragma unroll
    for (int j = 0; j < conditions; ++j) {
      const int sum = __reduce_add_sync(kFullWarp, counts.values[j]);
      if (lane_index() == 0) sums[turn_][j][warp_index()] = sum;
    }
    __syncthreads();
#pragma unroll
    for (int j = 0; j < conditions; ++j)
      counts.values[j] =
          __reduce_add_sync(kFullWarp, lane_index() < kWarps ? sums[turn_][j][lane_index()] : 0);
    return counts;
  }

 private:
  int turn_ = 0;
};

/// Calls put(place, position) for positions that meet a condition, in order, up to `most` of them; returns
/// how many there are.  Each warp looks through a stretch of its own.
template <typename Condition, typename Put>
__device__ int list_positions(int positions, int most, Condition condition, Put put) {
  auto& counts = shared<int[kWarps], struct ListCounts>();
  const int stretch = (positions + kThreads - 1) / kThreads * kWarpSize, begin = warp_index() * stretch;
  const int end = min(begin + stretch, positions);
  const auto meets = [&](int first) {
    const int mine = first + lane_index();
    return mine < end && condition(mine);
  };
  int count = 0;
#pragma unroll 4
  for (int first = begin; first < end; first += kWarpSize)
    count += __popc(__ballot_sync(kFullWarp, meets(first)));
  if (lane_index() == 0) counts[warp_index()] = count;
  __syncthreads();
  const int of_warp = lane_index() < kWarps ? counts[lane_index()] : 0;
  const int all = __reduce_add_sync(kFullWarp, of_warp);
  int place = __reduce_add_sync(kFullWarp, lane_index() < warp_index() ? of_warp : 0);
  const unsigned below = (1u << lane_index()) - 1;
#pragma unroll 4
  for (int first = begin; first < end; first += kWarpSize) {
    const bool chosen = meets(first);
    const unsigned votes = __ballot_sync(kFullWarp, chosen);
    const int mine = place + __popc(votes & below);
    if (chosen && mine < most) put(mine, first + lane_index());
    place += __popc(votes);
  }
  __syncthreads();
  return all;
}

/// Finds the `top`-th largest key, or one below it that exactly `top` keys reach.
class CutSearch {
 public:
  __device__ CutSearch(const unsigned* keys, int positions, int top)
      : keys_(keys), positions_(positions), top_(top), reaching_(positions) {}

  __device__ unsigned find() {
    constexpr unsigned kUsual = 0xBC000000u, kTwo = 0xC0000000u;  // of 1/128 and of 2: most cuts lie between
    const auto counts =
        counter_.count<2>(positions_, [&](int i, int j) { return keys_[i] >= (j == 0 ? kUsual : kTwo); });
    if (counts.values[0] >= top_ && counts.values[1] < top_) {
      key_ = kUsual;
      bit_ = 26;
      reaching_ = counts.values[0];
      above_ = counts.values[1];
    }
    while (bit_ > 0 && reaching_ > top_ && (bit_ == 32 || reaching_ - above_ > kFew)) narrow();
    return bit_ > 0 && reaching_ > top_ ? select() : key_;
  }

 private:
  static constexpr int kFew = 128;  // keys that are compared with each other

  /// Two more bits of the key.
  __device__ void narrow() {
    bit_ -= 2;
    const unsigned base = key_;
    const auto candidate = [&](int j) { return base + (static_cast<unsigned>(j + 1) << bit_); };
    const auto counts = counter_.count<3>(positions_, [&](int i, int j) { return keys_[i] >= candidate(j); });
#pragma unroll
    for (int j = 0; j < 3; ++j) {
      if (counts.values[j] < top_) {
        above_ = counts.values[j];
        break;
      }
      key_ = candidate(j);
      reaching_ = counts.values[j];
    }
  }
  /// The key among the few that are left.
  __device__ unsigned select() const {
    auto& few = shared<unsigned[kFew], struct FewKeys>();
    auto& result = shared<unsigned, struct CutKey>();
    const int count = list_positions(
        positions_, kFew, [&](int i) { return keys_[i] >= key_ && (keys_[i] - key_) >> bit_ == 0; },
        [&](int place, int i) { few[place] = keys_[i]; });
    if (const int me = threadIdx.x; me < count) {
      const unsigned mine = few[me];
      int rank = above_;  // keys ahead of mine, of equal ones those listed before it
#pragma unroll 8
      for (int i = 0; i < count; ++i) rank += i < me ? few[i] >= mine : few[i] > mine;
      if (rank == top_ - 1) result = mine;
    }
    __syncthreads();
    return result;
  }

  const unsigned* keys_;
  int positions_, top_;
  Counter counter_{};
  // The key sought lies in [key_, key_ + 2^bit_); how many reach the one and the other end.
  unsigned key_ = 0;
  int bit_ = 32;
  int reaching_, above_ = 0;
};

/// Lists the positions of the `top` largest keys, ties to the lower position.
__device__ void list_chosen(const unsigned* keys, int positions, int top, int* list) {
  const unsigned cut = CutSearch(keys, positions, top).find();
  const int above = list_positions(
      positions, top, [&](int i) { return keys[i] > cut; }, [&](int place, int i) { list[place] = i; });
  list_positions(
      positions, top - above, [&](int i) { return keys[i] == cut; },
      [&](int place, int i) { list[above + place] = i; });
}

/// The chosen positions of a class and what they weigh.
struct Chosen {
  const unsigned* keys;
  const int* list;
  int count;
  __device__ float weight(int i) const { return activation_of(keys[list[i]]); }
};

/// This warp's share of Σ activation · feature.
template <int width, typename T>
__device__ Floats<width> add_rows(const T* features, int channels, const Chosen& chosen) {
  Floats<width> sum{};
  for (int first = warp_index(); first < chosen.count; first += kRowsAhead * kWarps) {
    Pack<T, width> rows[kRowsAhead];
    float weights[kRowsAhead];
#pragma unroll
    for (int i = 0; i < kRowsAhead; ++i) {
      const int index = min(first + i * kWarps, chosen.count - 1);
      weights[i] = first + i * kWarps < chosen.count ? chosen.weight(index) : 0.0f;
      rows[i] = load_pack<width>(features + int64_t{chosen.list[index]} * channels);
    }
#pragma unroll
    for (int j = 0; j < width; ++j)
#pragma unroll
      for (int i = 0; i < kRowsAhead; ++i) sum[j] += weights[i] * value_of(rows[i], j);
  }
  return sum;
}

/// sums = Σ activation · feature over the chosen positions.
template <int width, typename T>
__device__ void sum_features(const T* features, int channels, const Chosen& chosen, float* sums) {
  constexpr int kColumns = kWarpSize * width;  // channels at a time
  constexpr int kHalf = kWarps / 2;            // the upper half of the warps hands its share to the lower one
  auto& partials = shared<float[kHalf][kColumns], struct Partials>();
  float* const mine = &partials[warp_index() % kHalf][lane_index() * width];
  for (int base = 0; base < channels; base += kColumns) {
    const int channel = base + lane_index() * width;
    Floats<width> sum{};
    if (channel < channels) sum = add_rows<width>(features + channel, channels, chosen);
    if (warp_index() >= kHalf) store<width>(mine, sum);
    __syncthreads();
    if (warp_index() < kHalf) {
      const auto other = load<width>(mine);
#pragma unroll
      for (int j = 0; j < width; ++j) sum[j] += other[j];
      store<width>(mine, sum);
    }
    __syncthreads();
    if (threadIdx.x < kColumns && base + threadIdx.x < channels) {
      float total = 0.0f;
#pragma unroll
      for (int warp = 0; warp < kHalf; ++warp) total += partials[warp][threadIdx.x];
      sums[base + threadIdx.x] = total;
    }
    __syncthreads();
  }
}

/// prototype = sums divided by the sum of weights, then by the norm; zeros when that gives no finite vector.
__device__ void normalise(float weight_sum, int channels, float* sums, float* prototype) {
  const float share = 1.0f / weight_sum;
  float squares = 0.0f;
  bool finite = weight_sum != 0.0f;
  for (int c = threadIdx.x; c < channels; c += kThreads) {
    const float value = sums[c] * share;
    sums[c] = value;
    finite = finite && value - value == 0.0f;
    squares += value * value;
  }
  squares = block_sum(squares);
  const float scale = 1.0f / max(sqrtf(squares), 1e-12f);
  const bool defined = __syncthreads_and(finite);
  for (int c = threadIdx.x; c < channels; c += kThreads) prototype[c] = defined ? sums[c] * scale : 0.0f;
}

template <typename T>
struct Extraction {
  const T *features, *logits;
  const uint8_t* present;
  float* prototypes;
  int positions, channels, classes, top;
  int64_t words;      // of memory for a block: keys, the list of chosen positions, sums of features
  unsigned* scratch;  // of all blocks, unless that fits into shared memory
};

template <typename T, int width, bool fits>
__global__ void __launch_bounds__(kThreads, 1) extract(Extraction<T> args) {
  const int64_t index = blockIdx.x, image = blockIdx.x / args.classes;
  const int category = static_cast<int>(blockIdx.x % args.classes);
  float* const prototype = args.prototypes + index * args.channels;
  if (args.present[index] == 0 || args.top == 0) {
    for (int c = threadIdx.x; c < args.channels; c += kThreads) prototype[c] = 0.0f;
    return;
  }
  unsigned* const keys = fits ? dynamic_shared<unsigned>() : args.scratch + index * args.words;
  int* const list = reinterpret_cast<int*>(keys + args.positions);
  float* const sums = reinterpret_cast<float*>(list + args.top);
  make_keys(args.logits + image * args.positions * args.classes + category, args.classes, args.positions,
            keys);
  list_chosen(keys, args.positions, args.top, list);
  const Chosen chosen{keys, list, args.top};
  sum_features<width>(args.features + image * args.positions * args.channels, args.channels, chosen, sums);
  float weight = 0.0f;
  for (int i = threadIdx.x; i < args.top; i += kThreads) weight += chosen.weight(i);
  normalise(block_sum(weight), args.channels, sums, prototype);
}

}  // namespace

void run(const PrototypeExtraction& args, Queue& queue) {
  const int64_t blocks = args.images * args.classes;
  const int top = std::min(args.top, args.positions);
  const int64_t words = int64_t{args.positions} + top + args.channels;
  const int64_t bytes = words * static_cast<int64_t>(sizeof(float));
  const bool fits = bytes <= kSharedBytes;
  const Scratch scratch = queue.scratch(fits ? 0 : blocks * words);
  with_storage(args.dtype, args.name, [&]<typename T>(Storage<T>) {
    const Extraction<T> extraction{static_cast<const T*>(args.features),
                                   static_cast<const T*>(args.logits),
                                   args.present,
                                   args.prototypes,
                                   args.positions,
                                   args.channels,
                                   args.classes,
                                   top,
                                   words,
                                   reinterpret_cast<unsigned*>(scratch.data())};
    with_pack_width<T>(
        packable(args.channels, {args.features}), [&]<int width>(std::integral_constant<int, width>) {
          launch(queue,
                 {.name = args.name, .grid = {blocks}, .block = {kThreads}, .shared_bytes = fits ? bytes : 0},
                 fits ? extract<T, width, true> : extract<T, width, false>, extraction);
        });
  });
}

}  // namespace scrawl::SCRAWL_GPU
