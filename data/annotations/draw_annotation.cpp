#include "data/annotations/draw_annotation.h"

#include "data/annotations/annotation_set.h"
#include "data/stroke_raster.h"
#include "engine/error.h"

namespace scrawl {
namespace {

void draw(LabelMap& map, const DrawnShape& shape, uint8_t label, int width) {
  switch (shape.kind) {
    case DrawnShape::Kind::stroke:
      return draw_stroke(map, shape.points, label, width);
    case DrawnShape::Kind::points:
      for (const Point& point : shape.points) draw_stroke(map, {&point, 1}, label, width);
      return;
    case DrawnShape::Kind::area:
      return fill_polygon(map, shape.points, label);
    case DrawnShape::Kind::ellipse:
      return fill_ellipse(map, shape.points[0], shape.points[1], shape.points[2], label);
  }
}

}  // namespace

LabelMap draw_annotation(const Annotation& annotation, const ClassList& classes, ImageSize size, int width) {
  LabelMap map{size.height, size.width, {}};
  map.labels.assign(size_t{1} * size.height * size.width, kUnlabelled);
  for (const DrawnShape& shape : annotation.shapes) {
    try {
      draw(map, shape, class_of(shape.name, classes), width);
    } catch (const InputError& error) {
      throw InputError("image '{}': {}", annotation.id, error.what());
    }
  }
  return map;
}

}  // namespace scrawl
