#pragma once
#include <utility>
#include <vector>

#include "data/point.h"

namespace scrawl {

/// Points that a test can compare and print.
inline std::vector<std::pair<float, float>> pairs(const Polyline& points) {
  std::vector<std::pair<float, float>> all;
  for (const Point p : points) all.emplace_back(p.x, p.y);
  return all;
}

using Pairs = std::vector<std::pair<float, float>>;

}  // namespace scrawl
