// Prototypes of an image's classes, and the bank that keeps them.
// Extraction takes one image and present class at a time: activations become integer keys that sort like the
// pair (activation descending, position ascending), the top-th key is selected in linear time, and the
// features of all positions at or above it are summed in order of position.  Cost: a pass over the logits and
// over `top` rows of features for each present class; the keys fill 8 bytes a position and thread.
// The bank works on one class at a time, images in batch order.
#include "kernels/prototypes.h"

#include <bit>
#include <cmath>
#include <functional>
#include <limits>

#include "kernels/cpu/parallel.h"

namespace scrawl::cpu {
namespace {

/// Larger activation first, then lower position: a larger key.
uint64_t key_of(float activation, int position) {
  const auto bits = std::bit_cast<uint32_t>(activation);
  const uint32_t ordered = bits >> 31 != 0 ? ~bits : bits | 0x80000000u;
  return uint64_t{ordered} << 32 | (0xFFFFFFFFu - static_cast<uint32_t>(position));
}

float activation_of(uint64_t key) {
  const auto ordered = static_cast<uint32_t>(key >> 32);
  return std::bit_cast<float>(ordered >> 31 != 0 ? ordered & 0x7FFFFFFFu : ~ordered);
}

float relu(float x) {
  return x < 0.0f ? 0.0f : x;
}

/// Keys of the activations of one class, in order of position.  logits: its first value; stride: to the next.
void activation_keys(const float* logits, int stride, int positions, uint64_t* keys) {
  float low = std::numeric_limits<float>::infinity(), high = -low;
  for (int i = 0; i < positions; ++i) {
    const float a = relu(logits[int64_t{i} * stride]);
    low = std::min(low, a);
    high = std::max(high, a);
  }
  const float threshold = low + 1e-5f, range = high - low + 1e-5f;
  for (int i = 0; i < positions; ++i) {
    const float a = relu(logits[int64_t{i} * stride]);
    keys[i] = key_of(((a < threshold ? 0.0f : a) - low - 1e-5f) / range, i);
  }
}

/// prototype = Σ a · feature / Σ a over positions with key ≥ cut.  False when that is not a finite vector.
bool weighted_mean(const float* features, const uint64_t* keys, uint64_t cut, int positions, int channels,
                   float* prototype) {
  double weight_sum = 0.0;
  std::fill_n(prototype, channels, 0.0f);
  for (int i = 0; i < positions; ++i) {
    if (keys[i] < cut) continue;
    const float weight = activation_of(keys[i]);
    const float* feature = features + int64_t{i} * channels;
    weight_sum += weight;
#pragma omp simd
    for (int c = 0; c < channels; ++c) prototype[c] += weight * feature[c];
  }
  if (weight_sum == 0.0) return false;
  const float share = static_cast<float>(1.0 / weight_sum);
  for (int c = 0; c < channels; ++c) prototype[c] *= share;
  return std::all_of(prototype, prototype + channels, [](float value) { return std::isfinite(value); });
}

double dot(const float* a, const float* b, int n) {
  double sum = 0.0;
#pragma omp simd reduction(+ : sum)
  for (int i = 0; i < n; ++i) sum += static_cast<double>(a[i]) * b[i];
  return sum;
}

void normalise(float* vector, int n) {
  const float share = static_cast<float>(1.0 / std::max(std::sqrt(dot(vector, vector, n)), 1e-12));
  for (int i = 0; i < n; ++i) vector[i] *= share;
}

/// The slot of highest cosine similarity to the prototype, the first of equals.
int most_similar(const float* slots, int count, const float* prototype, int channels) {
  const auto norm = [&](const float* vector) {
    return std::max(std::sqrt(dot(vector, vector, channels)), 1e-8);
  };
  int best = 0;
  double highest = -std::numeric_limits<double>::infinity();
  for (int slot = 0; slot < count; ++slot) {
    const float* candidate = slots + int64_t{slot} * channels;
    const double similarity = dot(candidate, prototype, channels) / (norm(candidate) * norm(prototype));
    if (similarity <= highest) continue;
    highest = similarity;
    best = slot;
  }
  return best;
}

}  // namespace

void run(const PrototypeExtraction& args, Queue& queue) {
  require_f32(args.dtype, args.name);
  const auto* features = static_cast<const float*>(args.features);
  const auto* logits = static_cast<const float*>(args.logits);
  const int positions = args.positions, channels = args.channels, classes = args.classes;
  const int top = std::min(args.top, positions);
  // A thread's scratch: the keys in order of position, and a copy for the selection to shuffle.
  auto* scratch = reinterpret_cast<uint64_t*>(queue.scratch(int64_t{4} * positions * queue.threads()));
  parallel_for(queue, args.images * classes, [&](int64_t index) {
    float* prototype = args.prototypes + index * channels;
    const int64_t image = index / classes, category = index % classes;
    bool defined = args.present[index] != 0 && top > 0;
    if (defined) {
      uint64_t* keys = scratch + int64_t{2} * positions * omp_get_thread_num();
      uint64_t* shuffled = keys + positions;
      activation_keys(logits + image * positions * classes + category, classes, positions, keys);
      std::copy_n(keys, positions, shuffled);
      std::nth_element(shuffled, shuffled + (top - 1), shuffled + positions, std::greater<>());
      defined = weighted_mean(features + image * positions * channels, keys, shuffled[top - 1], positions,
                              channels, prototype);
    }
    if (defined)
      normalise(prototype, channels);
    else
      std::fill_n(prototype, channels, 0.0f);
  });
}

void run(const BankUpdate& args, Queue& queue) {
  const int channels = args.channels;
  parallel_for(queue, args.classes, [&](int64_t category) {
    float* slots = args.bank + category * args.slots * channels;
    int32_t& filled = args.filled[category];
    for (int64_t image = 0; image < args.images; ++image) {
      const int64_t index = image * args.classes + category;
      if (args.present[index] == 0) continue;
      const float* prototype = args.prototypes + index * channels;
      if (filled < args.slots) {
        std::copy_n(prototype, channels, slots + int64_t{filled} * channels);
        ++filled;
        continue;
      }
      float* slot = slots + int64_t{most_similar(slots, args.slots, prototype, channels)} * channels;
      const float keep = args.rate, take = static_cast<float>(1.0 - args.rate);
#pragma omp simd
      for (int c = 0; c < channels; ++c) slot[c] = keep * slot[c] + take * prototype[c];
    }
  });
}

}  // namespace scrawl::cpu
