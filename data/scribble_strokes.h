#pragma once
// Strokes like those of a hurried annotator, made from a dense mask (after "Scribbles for All", Boettcher et
// al., NeurIPS 2024): two far-apart ends, a way through the middle, a smooth curve through perturbed points.
#include "data/label_map.h"
#include "data/mask.h"
#include "data/point.h"
#include "engine/random.h"

namespace scrawl {

/// How far strokes keep off the outline of a component that covers `share` of its image: 2 px up to a share
/// of 0.003, rising evenly to `most` at 0.15.
float erosion_for(double share, float most = 20.0f);

struct StrokeStyle {
  float erosion = 2.0f;  // the curve keeps deeper than this in the component, in pixels
  float kept = 0.9f;     // share of the curve's length that is left after both ends are trimmed
  float wobble = 0.5f;   // perturbation of points, relative to their distance from the outline
  int tries = 20;        // for a curve that keeps inside, before the component is eroded further
};

/// A smooth stroke inside one component, points about a pixel apart, in the image's coordinates.  A thin
/// component is eroded less; where no curve fits, a single point is left.  Empty only for an empty component.
Polyline stroke_within(const Mask& component, const StrokeStyle& style, Random& random);

/// What is left of a stroke when both ends are cut to leave `share` of its length about its middle; 0 leaves
/// a point.
Polyline shortened(const Polyline& stroke, float share);

/// Sets the pixels within width/2 of the line to `label`; parts outside the image are dropped.
void draw_polyline(LabelMap& map, const Polyline& line, uint8_t label, float width = 3.0f);

}  // namespace scrawl
