#pragma once
#include <cstdint>
#include <numeric>

#include "kernels/simt/options.h"

namespace scrawl::simt {

/// A well mixed 64-bit number for each input (the finaliser of SplitMix64).
constexpr uint64_t mix(uint64_t x) {
  x += 0x9E3779B97F4A7C15u;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return x ^ (x >> 31);
}

/// The numbers 0 … count - 1, each once, in the wanted order.  Shuffled means start, start + step,
/// start + 2·step … modulo count with a step that has no factor in common with it: enough that any two
/// numbers come in either order for many seeds, and nothing to store.
class Turns {
 public:
  Turns(Order order, int64_t count, uint64_t seed) : count_(count), left_(count) {
    if (count == 0) return;
    if (order == Order::reverse) {
      next_ = count - 1;
      step_ = count - 1;
    } else if (order == Order::shuffled) {
      const uint64_t random = mix(seed);
      next_ = static_cast<int64_t>((random >> 32) % count);
      step_ = 1 + static_cast<int64_t>((random & 0xFFFFFFFF) % count);
      while (std::gcd(step_, count) != 1) step_ = step_ % count + 1;
    }
  }
  bool done() const { return left_ == 0; }
  int64_t peek() const { return next_; }
  int64_t take() {
    const int64_t taken = next_;
    next_ += step_;
    if (next_ >= count_) next_ -= count_;
    --left_;
    return taken;
  }

 private:
  int64_t count_, left_, next_ = 0, step_ = 1;
};

/// Whether a warp rests in a round: under the shuffled order a quarter of them does for some rounds, so that
/// others get ahead of them, farther than to the next waiting place.
constexpr bool rests(Order order, uint64_t seed, uint64_t round, uint64_t warp) {
  constexpr uint64_t kRounds = 8, kShare = 4;
  return order == Order::shuffled && mix(mix(seed + round / kRounds) + warp) % kShare == 0;
}

}  // namespace scrawl::simt
