#pragma once
#include "data/image.h"
#include "data/label_map.h"

namespace scrawl {

/// Each label in its colour.
Image colourise(const LabelMap& map, const Palette& palette);

/// The photo with each label's colour over it, `opacity` 0 … 1, and thin white lines between classes.
/// Unlabelled pixels show the photo.  std::invalid_argument unless both have the same size.
Image overlay(const Image& photo, const LabelMap& map, const Palette& palette, float opacity = 0.6f);

/// The photo in pale gray with every labelled pixel as a dot of `radius` pixels in its class's colour, so
/// that thin strokes stand out; the map may be larger or smaller than the photo.
Image strokes_over(const Image& photo, const LabelMap& scribble, const Palette& palette, float radius);

}  // namespace scrawl
