#pragma once
#include "data/mask.h"

namespace scrawl {

/// A disc, and a ring whose centre of mass lies outside of it.
inline Mask annulus(int size, float inner, float outer) {
  Mask mask{size, size, std::vector<uint8_t>(size * size)};
  const auto middle = static_cast<float>(size / 2);
  for (int i = 0; i < size * size; ++i) {
    const float r =
        length(Point{static_cast<float>(i % size) - middle, static_cast<float>(i / size) - middle});
    mask.inside[i] = r >= inner && r <= outer;
  }
  return mask;
}

}  // namespace scrawl
