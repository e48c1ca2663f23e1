#pragma once
#include <string>
#include <string_view>

#include "data/annotations/annotation.h"

namespace scrawl {

/// Reads one JSON file of LabelMe.  Lines and line strips become strokes, points dots; polygons, rectangles
/// and circles become areas, since all of their inside is meant.  Other shapes are counted as skipped.  The
/// image is the one that the file names, whatever folder it lay in.  Embedded image data cost no memory
/// beyond the file.
Annotation parse_labelme(std::string_view json, const std::string& name);

}  // namespace scrawl
