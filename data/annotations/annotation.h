#pragma once
#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "data/label_map.h"
#include "data/point.h"

namespace scrawl {

/// Something that an annotator drew.
struct DrawnShape {
  /// `stroke` is an open polyline, `points` are single dots, `area` is a closed polygon of which all is
  /// meant, `ellipse` is an area given by its middle and the ends of two half axes at a right angle.
  enum class Kind : uint8_t { stroke, points, area, ellipse };
  Kind kind = Kind::stroke;
  int layer = 0;     // shapes of higher layers lie over those of lower ones
  std::string name;  // of its class
  Polyline points;   // in pixels, finite; they may lie outside the image

  bool has_area() const { return kind == Kind::area || kind == Kind::ellipse; }
};

/// What was drawn on one image.
struct Annotation {
  std::string id;                      // the image's name without its extension
  int height = 0, width = 0;           // that the image had; 0 when the file does not say so reliably
  std::vector<DrawnShape> shapes;      // by layer; later ones lie over earlier ones
  std::map<std::string, int> skipped;  // kinds of shapes that are not read, with their number
};

/// What one file holds.
struct AnnotationFile {
  std::vector<Annotation> images;
  std::map<std::string, Palette::value_type> classes;  // that it defines, with their colours; only CVAT does
};

/// The point, or the nearest one that is at most a million pixels away, so that no file can make sums
/// overflow.
inline Point within_reach(Point p) {
  constexpr float kFarthest = 1e6f;
  return {std::clamp(p.x, -kFarthest, kFarthest), std::clamp(p.y, -kFarthest, kFarthest)};
}

/// The path without its extension, for an image that an annotation file names.  InputError, starting with
/// `where`, for an absolute path or one that leads out of the folder of images.
std::string id_of_image(const std::string& path, const std::string& where);

}  // namespace scrawl
