#pragma once
// Scribbles for data sets that have dense masks only.
#include <array>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "data/for_each_index.h"
#include "data/palette.h"

namespace scrawl {

struct ScribbleStyle {
  uint64_t seed = 1;
  float width = 3.0f;     // of the strokes, in pixels
  float length = 1.0f;    // what is left of every stroke about its middle; 0 leaves a point
  float dropped = 0.0f;   // share of strokes that are left out
  int minimum_area = 80;  // smaller components get no stroke
};

/// What became of the components of one class.
struct ScribbleCount {
  int64_t images = 0;      // that show the class
  int64_t marked = 0;      // of them with a stroke
  int64_t components = 0;  // strokes + too_small + dropped
  int64_t strokes = 0, too_small = 0, dropped = 0;
  int64_t pixels = 0, on_class = 0;  // drawn; of them with the class in the mask

  ScribbleCount& operator+=(const ScribbleCount& other);
};
using ScribbleCounts = std::array<ScribbleCount, 256>;  // by class

/// One stroke a connected component of each class, background included, as wide as fits into it.  Depends
/// on mask, id and style alone; and another length or share dropped leaves the other strokes as they are:
/// shorter ones lie within longer ones, and what is left of more is left of fewer.
LabelMap scribble_mask(const LabelMap& mask, std::string_view id, const ScribbleStyle& style,
                       ScribbleCounts& counts);

/// The names of all masks (*.png) in a folder, without their extension, sorted.  InputError when there is
/// none.
std::vector<std::string> find_masks(const std::filesystem::path& folder);

struct ScribbleSetConfig {
  std::filesystem::path masks, out;
  int classes = 255;                // masks that hold others are refused
  int ignore_label = 255;           // of the masks; scribbles have 255 where nothing is drawn
  int threads = 0;                  // 0 = all processors
  Palette palette = voc_palette();  // that scribbles are stored with
  ScribbleStyle style;
};

struct ScribbleSet {
  std::vector<std::string> ids;    // as find_masks lists them
  std::vector<std::string> empty;  // of them without any stroke
  ScribbleCounts counts{};
};

/// Draws scribbles for all masks of a folder into `out`, under the same names.
/// `out` must not exist, or be empty, and appears only when all is done.
ScribbleSet scribble_masks(const ScribbleSetConfig& config, const ProgressCallback& progress = {});

}  // namespace scrawl
