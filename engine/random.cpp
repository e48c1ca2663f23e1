#include "engine/random.h"

#include <cmath>
#include <numbers>

namespace scrawl {

uint32_t Random::word() {
  if (used_ == 4) {
    // The stream goes into the key, so that streams of one seed never overlap however long they are.
    const uint64_t key = key_ ^ (stream_ * 0x9E3779B97F4A7C15u);
    words_ = philox({block_++, 0, static_cast<uint32_t>(index_), static_cast<uint32_t>(index_ >> 32)}, key);
    used_ = 0;
  }
  return words_[used_++];
}

uint64_t Random::below(uint64_t bound) {
  const uint64_t bits = uint64_t{word()} << 32 | word();
  return static_cast<uint64_t>((static_cast<unsigned __int128>(bits) * bound) >> 64);
}

float Random::normal() {
  const float u = 1.0f - uniform(), v = uniform();
  return std::sqrt(-2.0f * std::log(u)) * std::cos(2.0f * std::numbers::pi_v<float> * v);
}

}  // namespace scrawl
