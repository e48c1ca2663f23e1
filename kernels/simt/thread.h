#pragma once
// What a thread of a simulated kernel sees: CUDA's names, in namespace scrawl::simt.  Functions that CUDA
// builds in take one more argument here, the place of the call, for messages.
#include <bit>
#include <cstdint>
#include <source_location>
#include <type_traits>

#include "kernels/simt/meeting.h"
#include "kernels/simt/observer.h"

namespace scrawl::simt {

struct uint3 {
  unsigned x, y, z;
};
struct dim3 {
  unsigned x = 1, y = 1, z = 1;
};

// Set by the simulator whenever it lets a thread go on.
inline thread_local constinit uint3 threadIdx{}, blockIdx{};
inline thread_local constinit dim3 blockDim{}, gridDim{};
inline constexpr int warpSize = 32;

using Where = std::source_location;

// --- barriers: all threads of the block come to the same one ----------------------------------------------

inline void __syncthreads(Where where = Where::current()) {
  barrier("__syncthreads", false, where);
}
/// The number of threads whose predicate holds.
inline int __syncthreads_count(int predicate, Where where = Where::current()) {
  return barrier("__syncthreads_count", predicate != 0, where);
}
inline int __syncthreads_and(int predicate, Where where = Where::current()) {
  return barrier("__syncthreads_and", predicate == 0, where) == 0;
}
inline int __syncthreads_or(int predicate, Where where = Where::current()) {
  return barrier("__syncthreads_or", predicate != 0, where) > 0;
}

// --- votes ------------------------------------------------------------------------------------------------

inline void __syncwarp(unsigned mask = 0xFFFFFFFFu, Where where = Where::current()) {
  int nothing = 0;
  meet(
      "__syncwarp", mask, nothing,
      [mask](int* const*) {
        if (observer) observer->meet_warp(mask);
      },
      where);
}

/// The lanes of `mask` whose predicate holds.
inline unsigned __ballot_sync(unsigned mask, int predicate, Where where = Where::current(),
                              const char* what = "__ballot_sync") {
  struct Vote {
    bool predicate;
    unsigned result;
  } vote{predicate != 0, 0};
  meet(
      what, mask, vote,
      [](Vote* const* lanes) {
        unsigned result = 0;
        for (int i = 0; i < warpSize; ++i)
          if (lanes[i] && lanes[i]->predicate) result |= 1u << i;
        for (int i = 0; i < warpSize; ++i)
          if (lanes[i]) lanes[i]->result = result;
      },
      where);
  return vote.result;
}
inline int __any_sync(unsigned mask, int predicate, Where where = Where::current()) {
  return __ballot_sync(mask, predicate, where, "__any_sync") != 0;
}
inline int __all_sync(unsigned mask, int predicate, Where where = Where::current()) {
  return __ballot_sync(mask, predicate, where, "__all_sync") == mask;
}

// --- shuffles ---------------------------------------------------------------------------------------------

template <typename T>
struct Shuffled {
  T value, result;
  int source;  // lane to read from
};

/// Every lane reads the value of its source lane, which must take part.
template <typename T>
T shuffle(const char* what, unsigned mask, T value, int source, Where where) {
  static_assert(std::is_arithmetic_v<T> && (sizeof(T) == 4 || sizeof(T) == 8));
  Shuffled<T> mine{value, value, source};
  if (!(mask >> source & 1)) fail_source(what, mask, source, where);
  meet(
      what, mask, mine,
      [](Shuffled<T>* const* lanes) {
        for (int i = 0; i < warpSize; ++i)
          if (lanes[i]) lanes[i]->result = lanes[lanes[i]->source]->value;
      },
      where);
  return mine.result;
}

/// From lane `source` of the caller's group of `width` lanes.
template <typename T>
T __shfl_sync(unsigned mask, T value, int source, int width = warpSize, Where where = Where::current()) {
  const int lane = current_lane();
  return shuffle("__shfl_sync", mask, value, lane / width * width + (source & (width - 1)), where);
}
/// From the lane whose number differs by ^ `bits`; lanes of a higher group are not reached.
template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = warpSize, Where where = Where::current()) {
  const int lane = current_lane(), source = lane ^ bits;
  return shuffle("__shfl_xor_sync", mask, value, source / width > lane / width ? lane : source & 31, where);
}
/// From `distance` lanes above; the last lanes of a group keep their value.
template <typename T>
T __shfl_down_sync(unsigned mask, T value, unsigned distance, int width = warpSize,
                   Where where = Where::current()) {
  const int lane = current_lane();
  const bool inside = lane % width + static_cast<int>(distance) < width;
  return shuffle("__shfl_down_sync", mask, value, inside ? lane + static_cast<int>(distance) : lane, where);
}
/// From `distance` lanes below; the first lanes of a group keep their value.
template <typename T>
T __shfl_up_sync(unsigned mask, T value, unsigned distance, int width = warpSize,
                 Where where = Where::current()) {
  const int lane = current_lane();
  const bool inside = lane % width >= static_cast<int>(distance);
  return shuffle("__shfl_up_sync", mask, value, inside ? lane - static_cast<int>(distance) : lane, where);
}

// --- reductions -------------------------------------------------------------------------------------------

/// Combines the values of `width` neighbouring lanes in the order of xor shuffles by width / 2 … 1, as on
/// the GPU, but the lanes meet once.
template <typename T, typename Combine>
T warp_butterfly(int width, T value, Combine combine, unsigned mask, Where where = Where::current()) {
  const int lane = current_lane();
  for (int i = 0; i < width; ++i)
    if (const int source = lane ^ i; !(mask >> source & 1)) fail_source("warp_reduce", mask, source, where);
  meet(
      "warp_reduce", mask, value,
      [=](T* const* lanes) {
        for (int offset = width / 2; offset > 0; offset /= 2)
          for (int i = 0; i < warpSize; ++i)
            if (lanes[i] && !(i & offset))
              *lanes[i] = *lanes[i ^ offset] = combine(*lanes[i], *lanes[i ^ offset]);
      },
      where);
  return value;
}

/// Combines the values of all lanes of `mask`, for integers, whose order does not matter.
template <typename T, typename Combine>
T reduce_lanes(const char* what, unsigned mask, T value, Combine combine, Where where) {
  static_assert(std::is_same_v<T, int> || std::is_same_v<T, unsigned>, "as on the GPU");
  meet(
      what, mask, value,
      [=](T* const* lanes) {
        int first = std::countr_zero(mask);
        T result = *lanes[first];
        for (int i = first + 1; i < warpSize; ++i)
          if (lanes[i]) result = combine(result, *lanes[i]);
        for (int i = 0; i < warpSize; ++i)
          if (lanes[i]) *lanes[i] = result;
      },
      where);
  return value;
}
template <typename T>
T __reduce_add_sync(unsigned mask, T value, Where where = Where::current()) {
  return reduce_lanes(
      "__reduce_add_sync", mask, value, [](T a, T b) { return a + b; }, where);
}
template <typename T>
T __reduce_min_sync(unsigned mask, T value, Where where = Where::current()) {
  return reduce_lanes(
      "__reduce_min_sync", mask, value, [](T a, T b) { return a < b ? a : b; }, where);
}
template <typename T>
T __reduce_max_sync(unsigned mask, T value, Where where = Where::current()) {
  return reduce_lanes(
      "__reduce_max_sync", mask, value, [](T a, T b) { return a > b ? a : b; }, where);
}
inline unsigned __reduce_and_sync(unsigned mask, unsigned value, Where where = Where::current()) {
  return reduce_lanes(
      "__reduce_and_sync", mask, value, [](unsigned a, unsigned b) { return a & b; }, where);
}
inline unsigned __reduce_or_sync(unsigned mask, unsigned value, Where where = Where::current()) {
  return reduce_lanes(
      "__reduce_or_sync", mask, value, [](unsigned a, unsigned b) { return a | b; }, where);
}

// --- bits -------------------------------------------------------------------------------------------------

inline int __popc(unsigned x) {
  return std::popcount(x);
}
/// 1 + the number of the lowest bit that is set; 0 when none is.
inline int __ffs(int x) {
  return __builtin_ffs(x);
}
inline int __clz(int x) {
  return std::countl_zero(static_cast<unsigned>(x));
}
inline unsigned __float_as_uint(float x) {
  return std::bit_cast<unsigned>(x);
}
inline int __float_as_int(float x) {
  return std::bit_cast<int>(x);
}
inline float __uint_as_float(unsigned x) {
  return std::bit_cast<float>(x);
}
inline float __int_as_float(int x) {
  return std::bit_cast<float>(x);
}

}  // namespace scrawl::simt
