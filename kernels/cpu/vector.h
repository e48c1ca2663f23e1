#pragma once
// Sixteen neighbouring values that a loop keeps in registers from one pixel to the next, which loops over
// arrays do not.  Compilers cut them into as many registers as the machine needs.
#include <cstring>

namespace scrawl::cpu {

constexpr int kLanes = 16;
using Vector = float __attribute__((vector_size(kLanes * sizeof(float))));

/// Zero beyond the first `count` values.
inline Vector load(const float* values, int count = kLanes) {
  Vector result{};
  std::memcpy(&result, values, count * sizeof(float));
  return result;
}

inline void store(Vector vector, float* values, int count = kLanes) {
  std::memcpy(values, &vector, count * sizeof(float));
}

}  // namespace scrawl::cpu
