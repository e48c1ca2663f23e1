#pragma once
// GELU in its erf form, x Φ(x), and its derivative.  Both come from the upper tail of the normal distribution
// at |x|, tail(u) = e^(−u²/2) R(u), where R is smooth: one exponential and a polynomial of degree 10 (a
// minimax fit; absolute error of the tail 7e-8), without branches.  About 18 instructions for GELU, 21 for
// its derivative; erff alone takes as many.
#include "kernels/cuda/device/math.cuh"

namespace scrawl::SCRAWL_GPU {

struct NormalTail {
  float magnitude;  // |x|, at most 6: nothing that counts is left beyond
  float tail;       // 1 − Φ(|x|)
  float density;    // φ(|x|)
};

__device__ __forceinline__ NormalTail normal_tail(float x) {
  const float absolute = fabsf(x);
  const float u = absolute > 6.0f ? 6.0f : absolute;  // NaN stays NaN
  float r = 1.6316898e-06f;
  r = r * u - 3.5207780e-05f;
  r = r * u + 0.00033973841f;
  r = r * u - 0.0019746274f;
  r = r * u + 0.0079393899f;
  r = r * u - 0.024313929f;
  r = r * u + 0.061154883f;
  r = r * u - 0.13251379f;
  r = r * u + 0.24991679f;
  r = r * u - 0.39893651f;
  r = r * u + 0.49999994f;
  const float e = fast_exp2(-0.5f * kLog2E * u * u);
  return {u, e * r, e * 0.39894228f};
}

__device__ __forceinline__ float gelu(float x) {
  const NormalTail normal = normal_tail(x);
  return max(x, 0.0f) - normal.magnitude * normal.tail;
}

/// Φ(x) + x φ(x).
__device__ __forceinline__ float gelu_derivative(float x) {
  const NormalTail normal = normal_tail(x);
  const float half = normal.tail - normal.magnitude * normal.density;
  return x < 0.0f ? half : 1.0f - half;
}

}  // namespace scrawl::SCRAWL_GPU
