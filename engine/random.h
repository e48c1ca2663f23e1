#pragma once
#include <cstdint>

#include "kernels/philox.h"

namespace scrawl {

/// A sequence of host-side random numbers that depends only on (seed, stream, index): initial weights,
/// shuffles, augmentation and the demo set draw from it.  Cheap to make; make one per item.
class Random {
 public:
  Random(uint64_t seed, uint64_t stream, uint64_t index = 0) : key_(seed), stream_(stream), index_(index) {}

  uint32_t word();
  /// Uniform in [0, 1), then in [low, high).
  float uniform() { return scrawl::uniform(word()); }
  float uniform(float low, float high) { return low + (high - low) * uniform(); }
  /// Uniform integer in [0, bound); bound > 0.
  uint64_t below(uint64_t bound);
  bool chance(float probability) { return uniform() < probability; }
  /// Standard normal (Box and Muller).
  float normal();

 private:
  uint64_t key_, stream_, index_;
  uint32_t block_ = 0;
  int used_ = 4;
  std::array<uint32_t, 4> words_{};
};

}  // namespace scrawl
