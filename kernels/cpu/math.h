#pragma once
#include <bit>
#include <cmath>
#include <cstdint>

// Elementary functions without branches or calls, so that loops over them become vector code.  Polynomials
// are minimax fits; NaN stays NaN.

namespace scrawl::cpu {

/// e^x to one unit in the last place for x in [−87.3, 88.3].
inline float exp_in_range(float x) {
  constexpr float kRound = 12582912.0f;  // 1.5 · 2²³: adding it leaves the nearest integer in the low bits
  const float shifted = x * 1.44269504f + kRound;
  const float n = shifted - kRound;
  const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;  // ln 2 in two parts
  float p = 0.0013814467f;
  p = p * r + 0.008368781f;
  p = p * r + 0.041668393f;
  p = p * r + 0.1666652f;
  p = p * r + 0.49999994f;
  p = p * (r * r) + r + 1.0f;
  const int32_t exponent = std::bit_cast<int32_t>(shifted) - std::bit_cast<int32_t>(kRound);
  return p * std::bit_cast<float>((exponent + 127) << 23);
}

/// e^x; 0 below −87.3, infinite above 88.3.
inline float exp_f32(float x) {
  const float above = x < -87.3f ? -87.3f : x;
  const float result = exp_in_range(above > 88.7f ? 88.7f : above);
  return x < -87.3f ? 0.0f : result;
}

/// The standard normal distribution at |x|: what lies above, and the density.  Both share one exponential:
/// tail(u) = e^(−u²/2) R(u) with R smooth.  Absolute error of the tail below 4e-8.
struct NormalTail {
  float magnitude = 0.0f;  // |x|, at most 9: nothing is left beyond
  float tail = 0.0f;
  float density = 0.0f;
};

inline NormalTail normal_tail(float x) {
  const float absolute = std::fabs(x);
  const float u = absolute > 9.0f ? 9.0f : absolute;
  float r = 4.4351925e-08f;
  r = r * u - 1.2988597e-06f;
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
  const float e = exp_in_range(-0.5f * u * u);
  return {u, e * r, e * 0.39894228f};
}

/// x Φ(x), the erf form of GELU.
inline float gelu(float x) {
  const NormalTail normal = normal_tail(x);
  const float positive = x < 0.0f ? 0.0f : x;
  return positive - normal.magnitude * normal.tail;
}

/// d gelu / dx = Φ(x) + x φ(x).
inline float gelu_derivative(float x) {
  const NormalTail normal = normal_tail(x);
  const float half = normal.tail - normal.magnitude * normal.density;
  return x < 0.0f ? half : 1.0f - half;
}

}  // namespace scrawl::cpu
