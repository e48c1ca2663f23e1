#pragma once
#include <vector>

#include "data/label_map.h"
#include "data/point.h"

namespace scrawl {

/// A set of pixels of an image, within a window of it: H,W of the window, nonzero belongs to the set.
struct Mask {
  int height = 0, width = 0;
  std::vector<uint8_t> inside;
  int left = 0, top = 0;  // of the window in the image

  /// Whether the set holds the pixel (x, y) of the image.
  bool contains(int x, int y) const {
    x -= left, y -= top;
    return x >= 0 && x < width && y >= 0 && y < height && inside[static_cast<size_t>(y) * width + x] != 0;
  }
  int64_t area() const;
};

/// The pixels that hold `label`, in pieces connected over pixel edges, in raster order of their first pixel,
/// each in the smallest window that holds it; pieces of fewer than `minimum_area` pixels are left out.
std::vector<Mask> components(const LabelMap& map, uint8_t label, int minimum_area);

/// Euclidean distance of each pixel of the mask to the nearest pixel outside of it, 0 outside, H,W of the
/// window.  Beyond the border of the window is outside.
std::vector<float> distance_to_outside(const Mask& mask);

/// A breadth-first search over the pixels of a mask, named by their index in its window.
struct PixelSearch {
  std::vector<int> order;   // the pixels reached, nearest first
  std::vector<int> parent;  // H,W of the window; -1 = not reached; the start is its own parent

  /// The way back to the start, both ends included.
  std::vector<int> path_from(int pixel) const;
};

/// Searches from the pixel `start` over edges, and over corners too when `diagonals`.
PixelSearch search_from(int start, const Mask& mask, bool diagonals);

/// What is left of the mask in its largest connected piece, in the same window.
Mask largest_piece(const Mask& mask);

}  // namespace scrawl
