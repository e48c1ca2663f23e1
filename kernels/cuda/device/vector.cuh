#pragma once
// Several neighbouring values of a storage type, loaded and stored by instructions of up to 16 bytes, and
// computed with as floats.  Addresses must be aligned to the bytes moved, or to 16 when there are more: the
// simulator checks.
#include <array>
#include <bit>

#include "kernels/cuda/device/bf16.cuh"
#ifndef __CUDACC__
#include <cstring>

#include "kernels/simt/check.h"
#endif

namespace scrawl::SCRAWL_GPU {

/// N values as they lie in memory.
template <typename T, int N>
struct alignas(sizeof(T) * N < 16 ? sizeof(T) * N : 16) Pack {
  T values[N];
  __device__ T& operator[](int i) { return values[i]; }
  __device__ const T& operator[](int i) const { return values[i]; }
};

/// One value of a pack.  Those of bf16 are taken from words, by one instruction instead of the two that nvcc
/// makes of half words; to_pack() puts them together as words for the same reason.
template <typename T, int N>
__device__ __forceinline__ float value_of(const Pack<T, N>& pack, int i) {
  if constexpr (sizeof(T) == 2 && N % 2 == 0) {
    const auto words = std::bit_cast<std::array<unsigned, N / 2>>(pack);
    return i % 2 == 0 ? low_bf16(words[i / 2]) : high_bf16(words[i / 2]);
  } else {
    return as_float(pack[i]);
  }
}

/// N floats in registers.
template <int N>
struct Floats {
  float values[N];
  __device__ float& operator[](int i) { return values[i]; }
  __device__ const float& operator[](int i) const { return values[i]; }
};

/// How many values of type T fit into one load of 16 bytes.
template <typename T>
inline constexpr int kPackWidth = 16 / sizeof(T);

template <int N, typename T>
__device__ __forceinline__ Pack<T, N> load_pack(const T* source) {
#ifdef __CUDACC__
  return *reinterpret_cast<const Pack<T, N>*>(source);
#else
  check_aligned(source, alignof(Pack<T, N>));
  Pack<T, N> pack;
  std::memcpy(&pack, source, sizeof pack);  // an access, where a copy value by value would be N
  return pack;
#endif
}

template <int N, typename T>
__device__ __forceinline__ void store_pack(T* target, const Pack<T, N>& pack) {
#ifdef __CUDACC__
  *reinterpret_cast<Pack<T, N>*>(target) = pack;
#else
  check_aligned(target, alignof(Pack<T, N>));
  std::memcpy(target, &pack, sizeof pack);
#endif
}

template <typename T, int N>
__device__ __forceinline__ Floats<N> to_floats(const Pack<T, N>& pack) {
  Floats<N> result;
#pragma unroll
  for (int i = 0; i < N; ++i) result[i] = value_of(pack, i);
  return result;
}

/// Has the compiler forget what it has made of a pack so far: where that is used again much later, it would
/// keep twice as many registers full of floats.
template <int N>
__device__ __forceinline__ void forget_floats(Pack<unsigned, N>& pack) {
#ifdef __CUDACC__
#pragma unroll
  for (int i = 0; i < N; ++i) asm volatile("" : "+r"(pack[i]));
#else
  static_cast<void>(pack);
#endif
}

/// Rounds N floats to storage type T.
template <typename T, int N>
__device__ __forceinline__ Pack<T, N> to_pack(const Floats<N>& values) {
  if constexpr (sizeof(T) == 2 && N % 2 == 0) {
    std::array<unsigned, N / 2> words;
#pragma unroll
    for (int i = 0; i < N / 2; ++i) words[i] = pack_bf16(values[2 * i], values[2 * i + 1]);
    return std::bit_cast<Pack<T, N>>(words);
  } else {
    Pack<T, N> pack;
#pragma unroll
    for (int i = 0; i < N; ++i) pack[i] = as_storage<T>(values[i]);
    return pack;
  }
}

/// N values of storage type T as floats.
template <int N, typename T>
__device__ __forceinline__ Floats<N> load(const T* source) {
  return to_floats(load_pack<N>(source));
}

/// Rounds N floats to storage type T and stores them.
template <int N, typename T>
__device__ __forceinline__ void store(T* target, const Floats<N>& values) {
  store_pack<N>(target, to_pack<T>(values));
}

}  // namespace scrawl::SCRAWL_GPU
