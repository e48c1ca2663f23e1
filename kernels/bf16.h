#pragma once
#include <bit>
#include <cstdint>

namespace scrawl {

/// bfloat16, a storage type: the upper half of an fp32.  Arithmetic happens in fp32.
struct bf16 {
  uint16_t bits;
};

constexpr float to_float(bf16 value) {
  return std::bit_cast<float>(uint32_t{value.bits} << 16);
}

/// Rounds to nearest, ties to even.  NaN stays NaN: rounding must not carry its last bits away.
constexpr bf16 to_bf16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if (value != value) return {0x7FFF};
  return {static_cast<uint16_t>((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16)};
}

}  // namespace scrawl
