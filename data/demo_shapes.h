#pragma once
#include "data/point.h"
#include "engine/random.h"

namespace scrawl {

/// A figure given by closed outlines: a point is inside when an odd number of them surrounds it, so that a
/// ring is two circles.
struct Shape {
  std::vector<std::vector<Point>> outlines;
};

enum class ShapeKind { kDisc, kSquare, kTriangle, kStar, kRing, kCross };

/// A random member of the family (proportions vary), about the origin with a radius of about one.
Shape random_shape(ShapeKind kind, Random& random);

/// The shape stretched along x, turned by `angle` (radians), scaled by `radius` and moved to `centre`.
Shape placed(Shape shape, float stretch, float angle, float radius, Point centre);

/// Distance from p to the outline, negative inside.
float signed_distance(const Shape& shape, Point p);

}  // namespace scrawl
