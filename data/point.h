#pragma once
#include <cmath>
#include <vector>

namespace scrawl {

/// A place in an image, in pixels: x to the right, y down; pixel (column, row) has its centre at exactly
/// (column, row).
struct Point {
  float x = 0, y = 0;
};

/// Points joined by straight segments, open at the ends.
using Polyline = std::vector<Point>;

inline Point operator+(Point a, Point b) {
  return {a.x + b.x, a.y + b.y};
}
inline Point operator-(Point a, Point b) {
  return {a.x - b.x, a.y - b.y};
}
inline Point operator*(float s, Point a) {
  return {s * a.x, s * a.y};
}
inline float dot(Point a, Point b) {
  return a.x * b.x + a.y * b.y;
}
inline float length(Point a) {
  return std::sqrt(dot(a, a));
}

/// Distance from p to the segment from a to b.
inline float distance_to_segment(Point p, Point a, Point b) {
  const Point along = b - a, from = p - a;
  const float squared = dot(along, along);
  const float t = squared > 0 ? std::fmin(1.0f, std::fmax(0.0f, dot(from, along) / squared)) : 0.0f;
  return length(from - t * along);
}

}  // namespace scrawl
