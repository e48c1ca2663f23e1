#pragma once
#include <string>

#include "data/annotations/annotation.h"

namespace scrawl {

/// Reads the XML of "CVAT for images".  Polylines become strokes, points dots; polygons, boxes and ellipses
/// become areas.  Shapes lie over each other by their z_order, then by the file's order; masks, cuboids and
/// skeletons are counted as skipped.  InputError also for the tracks of "CVAT for video".
AnnotationFile parse_cvat(std::string xml, const std::string& name);

}  // namespace scrawl
