#include "data/demo_shapes.h"

#include <limits>
#include <numbers>

namespace scrawl {
namespace {

constexpr float kPi = std::numbers::pi_v<float>;

Point polar(float radius, float angle) {
  return {radius * std::cos(angle), radius * std::sin(angle)};
}

/// Corners that alternate between two radii: regular polygons (both equal), stars, and circles.
std::vector<Point> spiked(int corners, float outer, float inner) {
  std::vector<Point> outline;
  for (int i = 0; i < corners; ++i) {
    outline.push_back(
        polar(i % 2 ? inner : outer, 2 * kPi * static_cast<float>(i) / static_cast<float>(corners)));
  }
  return outline;
}

std::vector<Point> circle(float radius) {
  return spiked(36, radius, radius);
}

std::vector<Point> cross(float arm, float half_width) {
  const float a = arm, w = half_width;
  return {{w, w},   {w, a},   {-w, a}, {-w, w}, {-a, w}, {-a, -w},
          {-w, -w}, {-w, -a}, {w, -a}, {w, -w}, {a, -w}, {a, w}};
}

}  // namespace

Shape random_shape(ShapeKind kind, Random& random) {
  switch (kind) {
    case ShapeKind::kDisc:
      return {{circle(1.0f)}};
    case ShapeKind::kSquare:
      return {{spiked(4, 1.2f, 1.2f)}};
    case ShapeKind::kTriangle:
      return {{spiked(3, 1.3f, 1.3f)}};
    case ShapeKind::kStar: {
      const int tips = 5 + static_cast<int>(random.below(2));
      return {{spiked(2 * tips, 1.3f, random.uniform(0.52f, 0.66f))}};
    }
    case ShapeKind::kRing:
      return {{circle(1.15f), circle(random.uniform(0.5f, 0.65f))}};
    case ShapeKind::kCross:
      return {{cross(1.15f, random.uniform(0.3f, 0.42f))}};
  }
  return {};
}

Shape placed(Shape shape, float stretch, float angle, float radius, Point centre) {
  const float c = std::cos(angle), s = std::sin(angle);
  for (auto& outline : shape.outlines) {
    for (Point& p : outline) {
      const Point q = {p.x * stretch, p.y / stretch};
      p = centre + radius * Point{c * q.x - s * q.y, s * q.x + c * q.y};
    }
  }
  return shape;
}

float signed_distance(const Shape& shape, Point p) {
  float distance = std::numeric_limits<float>::max();
  bool inside = false;
  for (const auto& outline : shape.outlines) {
    Point a = outline.back();
    for (const Point b : outline) {
      distance = std::fmin(distance, distance_to_segment(p, a, b));
      // A ray to the right crosses the edge: an odd number of crossings means inside.
      if ((a.y > p.y) != (b.y > p.y) && p.x < a.x + (b.x - a.x) * (p.y - a.y) / (b.y - a.y)) inside = !inside;
      a = b;
    }
  }
  return inside ? -distance : distance;
}

}  // namespace scrawl
