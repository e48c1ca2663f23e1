#include "data/annotations/cvat.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numbers>

#include "data/annotations/xml_file.h"
#include "data/palette.h"
#include "engine/error.h"

namespace scrawl {
namespace {

/// The point in our terms: CVAT counts from the image's corner.
Point from_corner(float x, float y) {
  return within_reach({x, y}) - Point{0.5f, 0.5f};
}

float number_of(const pugi::xml_node& node, const char* attribute, const std::string& where) {
  const std::string_view text = node.attribute(attribute).value();
  const std::optional<float> number = finite_number(text);
  if (!number)
    throw InputError("{}: expected a finite number as {}, got '{}'", where, attribute, text.substr(0, 20));
  return *number;
}

int whole_number_of(const pugi::xml_node& node, const char* attribute, const std::string& where) {
  const float value = number_of(node, attribute, where);
  if (value != std::floor(value) || std::abs(value) > 1e6f)
    throw InputError("{}: expected a whole number of at most a million as {}, got {}", where, attribute,
                     value);
  return static_cast<int>(value);
}

/// "x,y;x,y;…"
Polyline points_of(const pugi::xml_node& node, const std::string& where) {
  std::string_view text = node.attribute("points").value();
  Polyline points;
  points.reserve(std::ranges::count(text, ';') + 1);
  while (!text.empty()) {
    const std::string_view pair = text.substr(0, text.find(';'));
    text.remove_prefix(std::min(pair.size() + 1, text.size()));
    const size_t comma = pair.find(',');
    const std::optional<float> x = finite_number(pair.substr(0, comma)),
                               y = finite_number(comma == pair.npos ? "" : pair.substr(comma + 1));
    if (!x || !y)
      throw InputError("{}: expected two finite numbers x,y as point {}, got '{}'", where, points.size() + 1,
                       pair.substr(0, 40));
    points.push_back(from_corner(*x, *y));
  }
  if (points.empty()) throw InputError("{}: expected points=\"x,y;x,y\"", where);
  return points;
}

/// Turns by `degrees` about the middle, clockwise as the image is seen.
Polyline turned(Polyline polygon, Point middle, float degrees) {
  const float angle = std::fmod(degrees, 360.0f) * std::numbers::pi_v<float> / 180.0f, c = std::cos(angle),
              s = std::sin(angle);
  for (Point& p : polygon) {
    const Point from = p - middle;
    p = middle + Point{c * from.x - s * from.y, s * from.x + c * from.y};
  }
  return polygon;
}

float rotation_of(const pugi::xml_node& node, const std::string& where) {
  return node.attribute("rotation") ? number_of(node, "rotation", where) : 0.0f;
}

Polyline box_of(const pugi::xml_node& node, const std::string& where) {
  const Point a = from_corner(number_of(node, "xtl", where), number_of(node, "ytl", where));
  const Point b = from_corner(number_of(node, "xbr", where), number_of(node, "ybr", where));
  return turned({a, {b.x, a.y}, b, {a.x, b.y}}, 0.5f * (a + b), rotation_of(node, where));
}

Polyline ellipse_of(const pugi::xml_node& node, const std::string& where) {
  const Point centre = from_corner(number_of(node, "cx", where), number_of(node, "cy", where));
  const Point radii = within_reach({number_of(node, "rx", where), number_of(node, "ry", where)});
  return turned({centre, centre + Point{radii.x, 0}, centre + Point{0, radii.y}}, centre,
                rotation_of(node, where));
}

/// False for kinds that are not read.
bool parse_shape(const pugi::xml_node& node, const std::string& where, DrawnShape& shape) {
  const std::string_view type = node.name();
  if (type == "polyline" || type == "points" || type == "polygon") {
    shape.points = points_of(node, where);
  } else if (type == "box") {
    shape.points = box_of(node, where);
  } else if (type == "ellipse") {
    shape.points = ellipse_of(node, where);
  } else {
    return false;
  }
  shape.kind = type == "polyline"  ? DrawnShape::Kind::stroke
               : type == "points"  ? DrawnShape::Kind::points
               : type == "ellipse" ? DrawnShape::Kind::ellipse
                                   : DrawnShape::Kind::area;
  shape.layer = node.attribute("z_order") ? whole_number_of(node, "z_order", where) : 0;
  shape.name = node.attribute("label").value();
  if (shape.name.empty()) throw InputError("{}: expected the name of its class as label", where);
  return true;
}

Annotation parse_image(const pugi::xml_node& image, const std::string& file) {
  const std::string name = image.attribute("name").value();
  const std::string where = fmt::format("{}: image '{}'", file, name.substr(0, 80));
  Annotation annotation{.id = id_of_image(name, where),
                        .height = whole_number_of(image, "height", where),
                        .width = whole_number_of(image, "width", where)};
  annotation.shapes.reserve(count(image.children()));
  int number = 0;
  for (const pugi::xml_node& node : image.children()) {
    if (node.type() != pugi::node_element || node.name() == std::string_view("tag")) continue;
    const std::string place = fmt::format("{}, shape {}", where, ++number);
    DrawnShape shape;
    if (!parse_shape(node, place, shape)) {
      ++annotation.skipped[node.name()];
      continue;
    }
    annotation.shapes.push_back(std::move(shape));
  }
  if (!std::ranges::is_sorted(annotation.shapes, {}, &DrawnShape::layer))  // which saves sorting's memory
    std::ranges::stable_sort(annotation.shapes, {}, &DrawnShape::layer);
  return annotation;
}

/// The colour "#rrggbb", or gray.
Palette::value_type colour_of(std::string_view text) {
  uint32_t value = 0x808080;
  if (text.size() == 7 && text.front() == '#') std::from_chars(text.data() + 1, text.data() + 7, value, 16);
  return {static_cast<uint8_t>(value >> 16), static_cast<uint8_t>(value >> 8 & 255),
          static_cast<uint8_t>(value & 255)};
}

}  // namespace

AnnotationFile parse_cvat(std::string xml, const std::string& name) {
  const XmlFile file(std::move(xml), name);
  const pugi::xml_node root = file.root("annotations");
  if (root.child("track"))
    throw InputError("{}: holds the tracks of a video; export the task as \"CVAT for images\"", name);
  AnnotationFile task;
  // A task's labels stand in meta/task, those of a job in meta/job, those of a project in meta/project.
  for (const pugi::xml_node& source : root.child("meta").children()) {
    for (const pugi::xml_node& label : source.child("labels").children("label"))
      task.classes.emplace(label.child("name").text().get(), colour_of(label.child("color").text().get()));
  }
  task.images.reserve(count(root.children("image")));
  for (const pugi::xml_node& image : root.children("image")) task.images.push_back(parse_image(image, name));
  return task;
}

}  // namespace scrawl
