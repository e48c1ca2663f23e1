#pragma once
// The strokes and areas of annotation files as pixels.
#include <span>

#include "data/label_map.h"
#include "data/point.h"

namespace scrawl {

/// Draws an open polyline of `width` pixels (an odd number) as the ScribbleSup masks in common use were
/// drawn, by MATLAB's insertShape: a segment is the quadrilateral whose corners lie width/2 pixels beside its
/// ends, rounded to whole pixels, and every pixel that it touches is set; ends are flat.  A step from a point
/// to itself counts as vertical; a single point, or several that are all the same, is a square dot. Points
/// are rounded to pixels and clamped to the image.
void draw_stroke(LabelMap& map, std::span<const Point> points, uint8_t label, int width);

/// Sets the pixels whose centres lie inside the polygon (even-odd rule); parts outside the image are dropped.
void fill_polygon(LabelMap& map, std::span<const Point> corners, uint8_t label);

/// The same for an ellipse, given by its middle and the ends of two half axes at a right angle.
void fill_ellipse(LabelMap& map, Point middle, Point end, Point other_end, uint8_t label);

}  // namespace scrawl
