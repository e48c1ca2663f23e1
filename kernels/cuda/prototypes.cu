// Prototypes of an image's classes, and the bank that keeps them.
// Extraction: one block per image and class; absent classes end at once.  The activations of all positions
// become integer keys that sort like them, in shared memory.  A radix select, bit by bit from the top, finds
// the key that `top` keys reach: each step counts the keys above a candidate, 32 steps at most, and it ends
// as soon as the count is exact.  Where the key itself is tied, the same search over positions finds the last
// one to take.  Then warps take 32 positions at a time, read the features of the chosen ones, a row by all
// lanes together and four rows under way, and add their sums over warps in order.
// Cost: a strided read of the logits (a sector of 32 bytes a position and present class), then `top` rows of
// features; the search is 32 passes over keys in shared memory, some ten thousand cycles.
// The bank: one block per class, images in batch order; a class's slots stay in shared memory, a warp
// computes the cosine of a slot in double, as the CPU does, so that both move the same one.
// Limits: keys beyond 16,384 positions and slots beyond 40 KiB lie in global memory, which is slower.
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
constexpr int kSharedPositions = 16384;
constexpr int kRowsAhead = 4;  // of features, whose loads a warp starts before it adds the first

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
  const auto relu_at = [&](int i) {
    const float x = as_float(logits[int64_t{i} * stride]);
    return x < 0.0f ? 0.0f : x;
  };
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  float low = kInfinity, high = -kInfinity;
  for (int i = threadIdx.x; i < positions; i += kThreads) {
    const float a = relu_at(i);
    keys[i] = __float_as_uint(a);
    low = a < low ? a : low;
    high = a > high ? a : high;
  }
  low = -block_max(-low);
  high = block_max(high);
  const float threshold = low + 1e-5f, range = high - low + 1e-5f;
  for (int i = threadIdx.x; i < positions; i += kThreads) {
    const float a = __uint_as_float(keys[i]);
    keys[i] = key_of(((a < threshold ? 0.0f : a) - low - 1e-5f) / range);
  }
  __syncthreads();
}

template <typename Predicate>
__device__ int count_if(int positions, Predicate predicate) {
  int count = 0;
  for (int i = threadIdx.x; i < positions; i += kThreads) count += predicate(i);
  return block_sum(count);
}

/// The `top` largest keys, ties to the lower position: those above `key`, and equal ones up to `last`.
struct Cut {
  const unsigned* keys;
  unsigned key = 0;
  int last = std::numeric_limits<int>::max();

  __device__ Cut(const unsigned* of, int positions, int top) : keys(of) {
    int reaching = positions;  // keys ≥ key
    for (int bit = 31; bit >= 0 && reaching > top; --bit) {
      const unsigned candidate = key | 1u << bit;
      const int count = count_if(positions, [&](int i) { return keys[i] >= candidate; });
      if (count < top) continue;
      key = candidate;
      reaching = count;
    }
    if (reaching > top) choose_ties(positions, top);
  }
  __device__ bool takes(int position) const {
    return keys[position] > key || (keys[position] == key && position <= last);
  }

 private:
  __device__ void choose_ties(int positions, int top) {
    const int wanted = top - count_if(positions, [&](int i) { return keys[i] > key; });
    last = 0;  // in the end, fewer than `wanted` ties lie before it, and one on it
    for (int bit = 31 - __clz(positions); bit >= 0; --bit) {
      const int candidate = last | 1 << bit;
      const int before = count_if(positions, [&](int i) { return keys[i] == key && i < candidate; });
      if (before < wanted) last = candidate;
    }
  }
};

/// sum += Σ activation · feature over the chosen ones among 32 positions from `first` on.
template <int width, typename T>
__device__ void add_rows(const T* features, int channels, const Cut& cut, int first, unsigned chosen,
                         Floats<width>& sum) {
  while (chosen != 0) {
    Floats<width> rows[kRowsAhead];
    float weights[kRowsAhead];
#pragma unroll
    for (int i = 0; i < kRowsAhead; ++i) {
      weights[i] = 0.0f;
      if (chosen == 0) continue;
      const int position = first + __ffs(static_cast<int>(chosen)) - 1;
      chosen &= chosen - 1;
      weights[i] = activation_of(cut.keys[position]);
      rows[i] = load<width>(features + int64_t{position} * channels);
    }
#pragma unroll
    for (int i = 0; i < kRowsAhead; ++i)
      for (int j = 0; j < width && weights[i] != 0.0f; ++j) sum[j] += weights[i] * rows[i][j];
  }
}

/// prototype = Σ activation · feature over the chosen positions, in global memory.
template <int width, typename T>
__device__ void sum_features(const T* features, int channels, int positions, const Cut& cut,
                             float* prototype) {
  constexpr int kColumns = kWarpSize * width;  // channels at a time
  auto& partials = shared<float[kWarps][kColumns], struct Partials>();
  for (int base = 0; base < channels; base += kColumns) {
    const int channel = base + lane_index() * width;
    Floats<width> sum{};
    for (int first = warp_index() * kWarpSize; first < positions; first += kThreads) {
      const int mine = first + lane_index();
      const unsigned chosen = __ballot_sync(kFullWarp, mine < positions && cut.takes(mine));
      if (channel < channels) add_rows(features + channel, channels, cut, first, chosen, sum);
    }
#pragma unroll
    for (int j = 0; j < width; ++j) partials[warp_index()][lane_index() * width + j] = sum[j];
    __syncthreads();
    if (threadIdx.x < kColumns && base + threadIdx.x < channels) {
      float total = 0.0f;
      for (int warp = 0; warp < kWarps; ++warp) total += partials[warp][threadIdx.x];
      prototype[base + threadIdx.x] = total;
    }
    __syncthreads();
  }
}

/// Divides by the sum of weights, then by the norm; zeros when that gives no finite vector.
__device__ void normalise(float weight_sum, int channels, float* prototype) {
  const float share = 1.0f / weight_sum;
  float squares = 0.0f;
  bool finite = weight_sum != 0.0f;
  for (int c = threadIdx.x; c < channels; c += kThreads) {
    const float value = prototype[c] * share;
    prototype[c] = value;
    finite = finite && value - value == 0.0f;
    squares += value * value;
  }
  squares = block_sum(squares);
  const float scale = 1.0f / max(sqrtf(squares), 1e-12f);
  const bool defined = __syncthreads_and(finite);
  for (int c = threadIdx.x; c < channels; c += kThreads) prototype[c] = defined ? prototype[c] * scale : 0.0f;
}

template <typename T>
struct Extraction {
  const T *features, *logits;
  const uint8_t* present;
  float* prototypes;
  int positions, channels, classes, top;
  unsigned* keys;  // of all blocks, or null when they fit into shared memory
};

// There are fewer blocks than multiprocessors as a rule, so one of them may have all registers.
template <typename T, int width>
__global__ void __launch_bounds__(kThreads, 1) extract(Extraction<T> args) {
  const int64_t index = blockIdx.x, image = index / args.classes;
  const int category = static_cast<int>(index % args.classes);
  float* const prototype = args.prototypes + index * args.channels;
  if (args.present[index] == 0 || args.top == 0) {
    for (int c = threadIdx.x; c < args.channels; c += kThreads) prototype[c] = 0.0f;
    return;
  }
  unsigned* const keys = args.keys ? args.keys + index * args.positions : dynamic_shared<unsigned>();
  make_keys(args.logits + image * args.positions * args.classes + category, args.classes, args.positions,
            keys);
  const Cut cut(keys, args.positions, args.top);
  sum_features<width>(args.features + image * args.positions * args.channels, args.channels, args.positions,
                      cut, prototype);
  float weight = 0.0f;
  for (int i = threadIdx.x; i < args.positions; i += kThreads)
    if (cut.takes(i)) weight += activation_of(keys[i]);
  normalise(block_sum(weight), args.channels, prototype);
}

// --- bank -------------------------------------------------------------------------------------------------

constexpr int kBankThreads = 256, kBankWarps = kBankThreads / kWarpSize;
constexpr int64_t kStagedBytes = 40 * 1024;

/// The slot of highest cosine to the prototype, the first of equals.  The prototype's own norm is left out:
/// it divides all of them alike.
__device__ int most_similar(const float* slots, int count, const float* prototype, int channels,
                            double* similarities) {
  for (int slot = warp_index(); slot < count; slot += kBankWarps) {
    double dot = 0.0, squares = 0.0;
    for (int c = lane_index(); c < channels; c += kWarpSize) {
      const double value = slots[int64_t{slot} * channels + c];
      dot += value * prototype[c];
      squares += value * value;
    }
    dot = warp_sum(dot);
    squares = warp_sum(squares);
    if (lane_index() == 0) similarities[slot] = dot / fmax(sqrt(squares), 1e-8);
  }
  __syncthreads();
  int best = 0;
  for (int slot = 1; slot < count; ++slot)
    if (similarities[slot] > similarities[best]) best = slot;
  return best;
}

__global__ void __launch_bounds__(kBankThreads)
    update_bank(const float* prototypes, const uint8_t* present, float* bank, int32_t* filled, int64_t images,
                int classes, int slots, int channels, float keep, float take, bool staged) {
  const int category = blockIdx.x;
  auto* similarities = dynamic_shared<double>();
  float* const home = bank + int64_t{category} * slots * channels;
  float* const memory = staged ? reinterpret_cast<float*>(similarities + slots) : home;
  const int size = slots * channels;
  int used = filled[category];
  for (int i = threadIdx.x; staged && i < used * channels; i += kBankThreads) memory[i] = home[i];
  __syncthreads();
  for (int64_t image = 0; image < images; ++image) {
    const int64_t index = image * classes + category;
    if (present[index] == 0) continue;
    const float* prototype = prototypes + index * channels;
    const bool full = used == slots;
    const int slot = full ? most_similar(memory, slots, prototype, channels, similarities) : used++;
    for (int c = threadIdx.x; c < channels; c += kBankThreads) {
      float& value = memory[int64_t{slot} * channels + c];
      value = full ? keep * value + take * prototype[c] : prototype[c];
    }
    __syncthreads();
  }
  for (int i = threadIdx.x; staged && i < min(size, used * channels); i += kBankThreads) home[i] = memory[i];
  if (threadIdx.x == 0) filled[category] = used;
}

}  // namespace

void run(const PrototypeExtraction& args, Queue& queue) {
  const int64_t blocks = args.images * args.classes;
  const int64_t positions = (args.positions + int64_t{63}) / 64 * 64;
  const bool fits = args.positions <= kSharedPositions;
  auto* keys = fits ? nullptr : reinterpret_cast<unsigned*>(queue.scratch(blocks * args.positions));
  with_storage(args.dtype, args.name, [&]<typename T>(Storage<T>) {
    const Extraction<T> extraction{static_cast<const T*>(args.features),
                                   static_cast<const T*>(args.logits),
                                   args.present,
                                   args.prototypes,
                                   args.positions,
                                   args.channels,
                                   args.classes,
                                   std::min(args.top, args.positions),
                                   keys};
    with_pack_width<T>(
        packable(args.channels, {args.features}), [&]<int width>(std::integral_constant<int, width>) {
          launch(queue,
                 {.name = args.name,
                  .grid = {blocks},
                  .block = {kThreads},
                  .shared_bytes = fits ? positions * static_cast<int64_t>(sizeof(unsigned)) : 0},
                 extract<T, width>, extraction);
        });
  });
}

void run(const BankUpdate& args, Queue& queue) {
  const int64_t similarities = args.slots * static_cast<int64_t>(sizeof(double));
  const int64_t bytes = int64_t{args.slots} * args.channels * static_cast<int64_t>(sizeof(float));
  const bool staged = similarities + bytes <= kStagedBytes;
  launch(queue,
         LaunchShape{.name = args.name,
                     .grid = {args.classes},
                     .block = {kBankThreads},
                     .shared_bytes = similarities + (staged ? bytes : 0)},
         update_bank, args.prototypes, args.present, args.bank, args.filled, args.images, args.classes,
         args.slots, args.channels, args.rate, static_cast<float>(1.0 - args.rate), staged);
}

}  // namespace scrawl::SCRAWL_GPU
