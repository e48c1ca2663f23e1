#pragma once
// Division of numbers below 2³¹ by a number that is known at the launch: a multiplication, an addition and a
// shift instead of some twenty instructions.  With 2^s the first power of two ≥ d, n / d is
// (n + ⌊n · m / 2³²⌋) / 2^s for m = ⌊2³² (2^s − d) / d⌋ + 1 (Granlund, Montgomery: "Division by invariant
// integers using multiplication", PLDI 1994).
#include <cstdint>

#include "kernels/cuda/device/backend.cuh"

namespace scrawl::SCRAWL_GPU {

class Divisor {
 public:
  /// For the host; 1 ≤ value < 2³¹.
  explicit Divisor(int64_t value) : value_(static_cast<uint32_t>(value)) {
    while ((uint64_t{1} << shift_) < value_) ++shift_;
    const uint64_t numerator = ((uint64_t{1} << shift_) - value_) << 32;
    multiplier_ = static_cast<uint32_t>(numerator / value_ + 1);
  }

  struct Result {
    int quotient, remainder;
  };
  __device__ Result divide(int number) const {
    const auto n = static_cast<uint32_t>(number);
    const auto high = static_cast<uint32_t>((uint64_t{n} * multiplier_) >> 32);
    const uint32_t quotient = (high + n) >> shift_;
    return {static_cast<int>(quotient), static_cast<int>(n - quotient * value_)};
  }

 private:
  uint32_t value_, multiplier_ = 0, shift_ = 0;
};

}  // namespace scrawl::SCRAWL_GPU
