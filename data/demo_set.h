#pragma once
#include <cstdint>
#include <filesystem>

#include "data/demo_scene.h"
#include "data/for_each_index.h"

namespace scrawl {

/// The drawn data set: six kinds of objects on a background.  Image i depends on (seed, i) alone.
struct DemoConfig {
  int train_images = 360;
  int val_images = 48;
  int size = 160;  // side of the square images; at least 64
  uint64_t seed = 1;
};

/// Scribbles for a scene, as a quick annotator would leave them: a stroke (at times two) in what is visible
/// of each object, one or two on the background, some running over an edge.
LabelMap draw_demo_scribbles(const DemoScene& scene, uint64_t seed, uint64_t index);

/// Writes the set in VOC layout below `root`: ImageSets/{train,val}.txt, JPEGImages, ScribbleLabels,
/// SegmentationClass (dense masks), classes.txt.  The lists come last, so
/// that a set with lists is complete.  Draws on all processors; the files do not depend on their number.
/// `progress(done, total)` is called once per image, never twice at a time.
void draw_demo_set(const std::filesystem::path& root, const DemoConfig& config,
                   const ProgressCallback& progress = {});

}  // namespace scrawl
