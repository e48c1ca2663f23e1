#pragma once
// Functions of one float.  The fast ones map to the special function units: about 2 ulp, and denormals may
// become zero.
#include <algorithm>
#include <cmath>

#include "kernels/cuda/device/backend.cuh"

namespace scrawl::SCRAWL_GPU {

#ifdef __CUDACC__
__device__ __forceinline__ float fast_exp2(float x) {
  float result;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
  return result;
}
__device__ __forceinline__ float fast_log2(float x) {
  return __log2f(x);
}
__device__ __forceinline__ float rsqrt(float x) {
  return rsqrtf(x);
}
__device__ __forceinline__ float fast_reciprocal(float x) {
  float result;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
  return result;
}
#else
inline float fast_exp2(float x) {
  return std::exp2(x);
}
inline float fast_log2(float x) {
  return std::log2(x);
}
inline float rsqrt(float x) {
  return 1.0f / std::sqrt(x);
}
inline float fast_reciprocal(float x) {
  return 1.0f / x;
}
#endif

#ifndef __CUDACC__
using std::max;
using std::min;
#endif

inline constexpr float kLog2E = 1.442695041f;
inline constexpr float kLn2 = 0.6931471806f;

/// e^x by the special function unit.
__device__ __forceinline__ float fast_exp(float x) {
  return fast_exp2(x * kLog2E);
}
/// The error function, to full fp32 precision.
__device__ __forceinline__ float error_function(float x) {
  return erff(x);
}

}  // namespace scrawl::SCRAWL_GPU
