#pragma once
#include "data/annotations/annotation.h"
#include "data/class_list.h"
#include "data/image.h"
#include "data/label_map.h"

namespace scrawl {

/// The scribble map of one image: strokes and dots `width` pixels wide (an odd number), areas filled, later
/// shapes over earlier ones, all else kUnlabelled.  InputError, with the image's id, for a name that is no
/// class.
LabelMap draw_annotation(const Annotation& annotation, const ClassList& classes, ImageSize size, int width);

}  // namespace scrawl
