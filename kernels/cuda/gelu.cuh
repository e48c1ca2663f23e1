#pragma once
// GELU in its erf form, x Φ(x), and its derivative.  Both come from the upper tail of the normal distribution
// at |x|, tail(u) = e^(−u²/2) R(u), where R is smooth: one exponential and a polynomial, without branches.
// The polynomials are minimax fits of R, weighted by e^(−u²/2) and, for bf16, also by max(u, 1), so that the
// bounds hold for what comes out.  For values stored as fp32 it has degree 10 (absolute error of the tail
// 7e-8); for bf16 degree 7 (absolute error of GELU and its derivative 7e-6, where rounding a result of 1 to
// bf16 costs 4e-3).  About 17 instructions for either, 3 fewer in bf16; erff alone takes as many.
#include <type_traits>

#include "kernels/bf16.h"
#include "kernels/cuda/device/math.cuh"

namespace scrawl::SCRAWL_GPU {

inline constexpr float kFarTail = 6.0f;            // nothing that counts is left beyond
inline constexpr float kNormalPeak = 0.39894228f;  // φ(0)

/// R(u) + slope · u, u in 0…kFarTail.
template <typename T>
__device__ __forceinline__ float scaled_tail(float u, float slope = 0.0f) {
  if constexpr (std::is_same_v<T, bf16>) {
    float r = -0.00013491443f;
    r = r * u + 0.0019834775f;
    r = r * u - 0.012651552f;
    r = r * u + 0.047634654f;
    r = r * u - 0.12376741f;
    r = r * u + 0.24712245f;
    r = r * u + (slope - 0.39859837f);
    return r * u + 0.49999326f;
  } else {
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
}

struct Magnitude {
  float u;  // |x|, at most kFarTail
  float e;  // e^(−u²/2)

  __device__ __forceinline__ explicit Magnitude(float x) {
    const float absolute = fabsf(x);
    u = absolute > kFarTail ? kFarTail : absolute;  // NaN stays NaN
    e = fast_exp2(-0.5f * kLog2E * u * u);
  }
};

/// T is the type that values are stored in.
template <typename T>
__device__ __forceinline__ float gelu(float x) {
  const Magnitude magnitude(x);
  const float tail = magnitude.e * scaled_tail<T>(magnitude.u);
  return max(x, 0.0f) - magnitude.u * tail;
}

/// Φ(x) + x φ(x): tail(u) − u φ(u) at u = −x, and 1 less that at u = x.
template <typename T>
__device__ __forceinline__ float gelu_derivative(float x) {
  const Magnitude magnitude(x);
  const float step = x < 0.0f ? 0.0f : 1.0f;
  return step - copysignf(magnitude.e, x) * scaled_tail<T>(magnitude.u, -kNormalPeak);
}

}  // namespace scrawl::SCRAWL_GPU
