#pragma once
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "data/annotations/annotation_set.h"

namespace scrawl {

struct PrepareConfig {
  std::filesystem::path images;
  std::filesystem::path masks;     // dense masks to validate with; empty: there are none
  std::filesystem::path val_list;  // ids to validate on; empty: every tenth image
  int width = 3;                   // of strokes, in pixels; odd
  bool copy_images = false;        // instead of linking to their folder
};

/// What became of one class.
struct PreparedClass {
  int64_t images = 0, shapes = 0;  // that show it; drawn
  int64_t pixels = 0;              // left of them in the end
};

struct PreparedSet {
  int train = 0, val = 0;
  std::vector<std::string> empty;      // images that nothing was drawn on: in neither list
  int64_t pixels = 0;                  // of all images with scribbles
  int64_t outside = 0;                 // points of strokes beyond their image, moved to its border
  std::vector<PreparedClass> classes;  // by index
  std::map<std::string, int> skipped;  // shapes that scribbles cannot show
};

/// Makes a data set to train on of the empty folder `out`: ScribbleLabels/<id>.png, classes.txt,
/// ImageSets/{train,val}.txt, JPEGImages (a link to `images` unless they are copied) and, of `masks`,
/// SegmentationClass.  An image to validate on is not trained on.  Draws on all processors.  InputError for
/// missing photos, for annotations made on a photo of another size, and for names that are no class.
PreparedSet prepare_set(const std::filesystem::path& out, const AnnotationSet& annotations,
                        const ClassList& classes, const PrepareConfig& config,
                        const ProgressCallback& progress = {});

}  // namespace scrawl
