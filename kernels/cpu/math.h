#pragma once
#include <bit>
#include <cstdint>
#include <type_traits>

#include "kernels/cpu/vector.h"

// Elementary functions without branches or calls, so that loops over them become vector code; F is float or
// a vector of them.  Polynomials are minimax fits; NaN stays NaN.

namespace scrawl::cpu {

using IntVector = int32_t __attribute__((vector_size(kLanes * sizeof(int32_t))));
/// Integers as wide as F.
template <typename F>
using Bits = std::conditional_t<std::is_same_v<F, float>, int32_t, IntVector>;

template <typename F>
F absolute(F x) {
  return std::bit_cast<F>(std::bit_cast<Bits<F>>(x) & 0x7fffffff);
}

/// e^x to one unit in the last place for x in [−87.3, 88.3].
template <typename F>
[[gnu::always_inline]] inline F exp_in_range(F x) {
  constexpr float kRound = 12582912.0f;  // 1.5 · 2²³: adding it leaves the nearest integer in the low bits
  const F shifted = x * 1.44269504f + kRound;
  const F n = shifted - kRound;
  const F r = (x - n * 0.693359375f) + n * 2.12194440e-4f;  // ln 2 in two parts
  F p = r * 0.0013814467f + 0.008368781f;
  p = p * r + 0.041668393f;
  p = p * r + 0.1666652f;
  p = p * r + 0.49999994f;
  p = p * (r * r) + r + 1.0f;
  const Bits<F> exponent = std::bit_cast<Bits<F>>(shifted) - std::bit_cast<int32_t>(kRound);
  return p * std::bit_cast<F>((exponent + 127) << 23);
}

/// e^x; 0 below −87.3, infinite above 88.3.
template <typename F>
[[gnu::always_inline]] inline F exp_f32(F x) {
  const F above = x < -87.3f ? F{} - 87.3f : x;
  const F result = exp_in_range(above > 88.7f ? F{} + 88.7f : above);
  return x < -87.3f ? F{} : result;
}

/// The standard normal distribution at |x|: what lies above, and the density.  Both share one exponential:
/// tail(u) = e^(−u²/2) R(u) with R smooth.  Absolute error of the tail below 4e-8.
template <typename F>
struct NormalTail {
  F magnitude;  // |x|, at most 9: nothing is left beyond
  F tail;
  F density;
};

template <typename F>
[[gnu::always_inline]] inline NormalTail<F> normal_tail(F x) {
  const F magnitude = absolute(x);
  const F u = magnitude > 9.0f ? 9.0f : magnitude;
  F r = u * 4.4351925e-08f - 1.2988597e-06f;
  r = r * u + 1.7079436e-05f;
  r = r * u - 0.00013515029f;
  r = r * u + 0.00073227927f;
  r = r * u - 0.002955971f;
  r = r * u + 0.009523508f;
  r = r * u - 0.025948554f;
  r = r * u + 0.062196042f;
  r = r * u - 0.13289578f;
  r = r * u + 0.24998769f;
  r = r * u - 0.39894158f;
  r = r * u + 0.5f;
  const F e = exp_in_range(-0.5f * u * u);
  return {u, e * r, e * 0.39894228f};
}

/// x Φ(x), the erf form of GELU.
template <typename F>
[[gnu::always_inline]] inline F gelu(F x) {
  const NormalTail<F> normal = normal_tail(x);
  const F positive = x < 0.0f ? F{} : x;
  return positive - normal.magnitude * normal.tail;
}

/// d gelu / dx = Φ(x) + x φ(x).
template <typename F>
[[gnu::always_inline]] inline F gelu_derivative(F x) {
  const NormalTail<F> normal = normal_tail(x);
  const F half = normal.tail - normal.magnitude * normal.density;
  return x < 0.0f ? half : 1.0f - half;
}

}  // namespace scrawl::cpu
