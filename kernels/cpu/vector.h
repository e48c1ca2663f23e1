#pragma once
// As many neighbouring values as a register of the machine holds, which a loop keeps from one pixel to the
// next; loops over arrays do not.
#include <cstring>

namespace scrawl::cpu {

constexpr int kLanes = __BIGGEST_ALIGNMENT__ / sizeof(float);  // 16 with AVX-512, 8 with AVX, else 4
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

/// Calls combine(half of the vector, the other half) until one value is left.
template <typename Combine>
float fold(Vector vector, Combine combine) {
  float lanes[kLanes];
  store(vector, lanes);
#pragma GCC unroll 4
  for (int width = kLanes / 2; width > 0; width /= 2)
    for (int lane = 0; lane < width; ++lane) lanes[lane] = combine(lanes[lane], lanes[lane + width]);
  return lanes[0];
}
inline float total(Vector vector) {
  return fold(vector, [](float a, float b) { return a + b; });
}
inline float maximum(Vector vector) {
  return fold(vector, [](float a, float b) { return a > b ? a : b; });
}

}  // namespace scrawl::cpu
