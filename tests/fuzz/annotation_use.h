#pragma once
#include "data/annotations/annotation_set.h"
#include "data/annotations/draw_annotation.h"
#include "tests/fuzz/input_file.h"
#include "tests/fuzz/reader_check.h"

namespace scrawl {

/// Reads a file of annotations and draws them on small images, as `scrawl prepare` does.
inline void check_annotations(AnnotationFormat format, const uint8_t* data, size_t size) {
  const InputFile file(data, size);
  AnnotationSet set;
  check_reader(size, [&] { set = read_annotations(format, file.path()); });
  for (const Annotation& image : set.images)
    check_reader(size, [&] { draw_annotation(image, set.classes, {48, 64}, 3); });
}

}  // namespace scrawl
