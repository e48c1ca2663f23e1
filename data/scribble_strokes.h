#pragma once
// Strokes like those of a hurried annotator, made from a dense mask (after "Scribbles for All", Boettcher et
// al., NeurIPS 2024): two far-apart ends, a way through the middle, a smooth curve through perturbed points.
#include "data/label_map.h"
#include "data/point.h"
#include "engine/random.h"

namespace scrawl {

/// A set of pixels, H,W: nonzero belongs to it.
struct Mask {
  int height = 0, width = 0;
  std::vector<uint8_t> inside;
};

/// The pixels that hold `label`, in pieces connected over pixel edges, in raster order of their first pixel;
/// pieces of fewer than `minimum_area` pixels are left out.
std::vector<Mask> components(const LabelMap& map, uint8_t label, int minimum_area);

/// Euclidean distance of each pixel of the mask to the nearest pixel outside of it, 0 outside, H,W.  Beyond
/// the border of the image is outside.
std::vector<float> distance_to_outside(const Mask& mask);

struct StrokeStyle {
  float kept = 0.9f;    // share of the curve's length that is left after both ends are trimmed
  float wobble = 0.3f;  // perturbation of points, relative to their distance from the outline and each other
  float most_erosion = 20.0f;  // how far strokes in large components keep off the outline, in pixels
  int tries = 20;              // each keeps closer to the middle than the one before
};

/// A smooth stroke inside one component, points about a pixel apart.  It keeps off the outline by 2 px in
/// small components up to `most_erosion` in those that fill 15 % of the image, less where they are thin.
/// Empty only for an empty component.
Polyline stroke_within(const Mask& component, const StrokeStyle& style, Random& random);

/// Sets the pixels within width/2 of the line to `label`; parts outside the image are dropped.
void draw_polyline(LabelMap& map, const Polyline& line, uint8_t label, float width = 3.0f);

}  // namespace scrawl
