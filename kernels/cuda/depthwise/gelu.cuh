#pragma once
// GELU in its erf form, x Φ(x), and its derivative Φ(x) + x φ(x), without branches.
// For values stored as bf16, Φ(x) = 1 / (1 + 2^(x P(x²))) with P of degree 4: the logarithm of Φ(x) / Φ(−x)
// is odd and smooth.  P is a minimax fit weighted by max(x, 1) Φ(x) Φ(−x), so that the bound holds for what
// comes out: absolute error of GELU and of its derivative 4e-6, where rounding a result of 1 to bf16 costs
// 4e-3.  10 and 12 instructions.
// For fp32 both come from the upper tail of the normal distribution at |x|, tail(u) = e^(−u²/2) R(u), where R
// is a polynomial of degree 10, a minimax fit weighted by e^(−u²/2): absolute error of the tail 7e-8.  About
// 17 instructions; erff alone takes as many.
#include <type_traits>

#include "kernels/bf16.h"
#include "kernels/cuda/device/math.cuh"

namespace scrawl::SCRAWL_GPU {

inline constexpr float kNormalPeak = 0.39894228f;      // φ(0)
inline constexpr float kLog2NormalPeak = -1.3257481f;  // its logarithm

// --- bf16 -------------------------------------------------------------------------------------------------

/// Φ(x), given x².
__device__ __forceinline__ float normal_distribution(float x, float square) {
  float p = -3.3806452e-06f;
  p = p * square + 9.2043418e-05f;
  p = p * square + 0.00033049309f;
  p = p * square - 0.10514286f;
  p = p * square - 2.3021140f;
  return fast_reciprocal(1.0f + fast_exp2(p * x));
}

// --- fp32 -------------------------------------------------------------------------------------------------

struct Magnitude {
  float u;                                 // |x|, at most kFarTail
  float e;                                 // e^(−u²/2)
  static constexpr float kFarTail = 6.0f;  // nothing that counts is left beyond

  __device__ __forceinline__ explicit Magnitude(float x) {
    const float absolute = fabsf(x);
    u = absolute > kFarTail ? kFarTail : absolute;  // NaN stays NaN
    e = fast_exp2(-0.5f * kLog2E * u * u);
  }
};

/// R(u) + slope · u, u in 0…kFarTail.
__device__ __forceinline__ float scaled_tail(float u, float slope = 0.0f) {
  float r = 1.6316898e-06f;
  r = r * u - 3.5207780e-05f;
  r = r * u + 0.00033973841f;
  r = r * u - 0.0019746274f;
  r = r * u + 0.0079393899f;
  r = r * u - 0.024313929f;
  r = r * u + 0.061154883f;
  r = r * u - 0.13251379f;
  r = r * u + 0.24991679f;
  r = r * u + (slope - 0.39893651f);
  return r * u + 0.49999994f;
}

// --- either -----------------------------------------------------------------------------------------------

/// T is the type that values are stored in.
template <typename T>
__device__ __forceinline__ float gelu(float x) {
  if constexpr (std::is_same_v<T, bf16>) {
    return x * normal_distribution(x, x * x);
  } else {
    const Magnitude magnitude(x);
    const float tail = magnitude.e * scaled_tail(magnitude.u);
    return max(x, 0.0f) - magnitude.u * tail;
  }
}

template <typename T>
__device__ __forceinline__ float gelu_derivative(float x) {
  if constexpr (std::is_same_v<T, bf16>) {
    const float square = x * x;
    const float density = fast_exp2(-0.5f * kLog2E * square + kLog2NormalPeak);
    return normal_distribution(x, square) + x * density;
  } else {
    // Φ(x) + x φ(x): tail(u) − u φ(u) at u = −x, and 1 less that at u = x.
    const Magnitude magnitude(x);
    const float step = x < 0.0f ? 0.0f : 1.0f;
    return step - copysignf(magnitude.e, x) * scaled_tail(magnitude.u, -kNormalPeak);
  }
}

}  // namespace scrawl::SCRAWL_GPU
