#pragma once
// Conversions between storage types and fp32; on the GPU by its own instructions (two values at once where
// there are two).  bf16 rounds to nearest, ties to even.
#include "kernels/bf16.h"
#include "kernels/cuda/device/backend.cuh"
#ifdef __CUDACC__
#include <cuda_bf16.h>
#endif

namespace scrawl::SCRAWL_GPU {

__device__ __forceinline__ float as_float(float value) {
  return value;
}
__device__ __forceinline__ float as_float(bf16 value) {
  return to_float(value);
}

/// `value` in storage type T.
template <typename T>
__device__ __forceinline__ T as_storage(float value);
template <>
__device__ __forceinline__ float as_storage<float>(float value) {
  return value;
}
template <>
__device__ __forceinline__ bf16 as_storage<bf16>(float value) {
#ifdef __CUDACC__
  return {__bfloat16_as_ushort(__float2bfloat16_rn(value))};
#else
  return to_bf16(value);
#endif
}

/// Two bf16 in a word, `low` in the lower half (the lower address): what matrix fragments are made of.
__device__ __forceinline__ unsigned pack_bf16(float low, float high) {
#ifdef __CUDACC__
  const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
  return __bfloat16_as_ushort(pair.x) | unsigned{__bfloat16_as_ushort(pair.y)} << 16;
#else
  return to_bf16(low).bits | unsigned{to_bf16(high).bits} << 16;
#endif
}
__device__ __forceinline__ float low_bf16(unsigned pair) {
  return to_float(bf16{static_cast<uint16_t>(pair & 0xFFFF)});
}
__device__ __forceinline__ float high_bf16(unsigned pair) {
  return to_float(bf16{static_cast<uint16_t>(pair >> 16)});
}

}  // namespace scrawl::SCRAWL_GPU
