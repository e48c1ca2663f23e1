#include "data/annotations/scribblesup.h"

#include <algorithm>
#include <array>

#include "data/annotations/xml_file.h"
#include "engine/error.h"

namespace scrawl {
namespace {

Point parse_point(const pugi::xml_node& point, const std::string& where) {
  const std::string_view x = point.child("X").text().get(), y = point.child("Y").text().get();
  const std::optional<float> column = finite_number(x), row = finite_number(y);
  if (!column || !row)
    throw InputError("{}: expected finite numbers in <X> and <Y>, got '{}' and '{}'", where, x.substr(0, 20),
                     y.substr(0, 20));
  return within_reach({*column, *row});
}

DrawnShape parse_stroke(const pugi::xml_node& polygon, const std::string& where) {
  DrawnShape stroke{.name = polygon.child("tag").text().get()};
  if (stroke.name.empty()) throw InputError("{}: expected the name of its class in <tag>", where);
  const auto points = polygon.children("point");
  stroke.points.reserve(count(points));
  for (const pugi::xml_node& point : points) stroke.points.push_back(parse_point(point, where));
  if (stroke.points.empty()) throw InputError("{}: expected at least one <point>", where);
  return stroke;
}

}  // namespace

Annotation parse_scribblesup(std::string xml, const std::string& id, const std::string& name) {
  const XmlFile file(std::move(xml), name);
  Annotation annotation{.id = id};
  const auto polygons = file.root("annotation").children("polygon");
  annotation.shapes.reserve(count(polygons));
  for (const pugi::xml_node& polygon : polygons) {
    annotation.shapes.push_back(
        parse_stroke(polygon, fmt::format("{}: polygon {}", name, annotation.shapes.size() + 1)));
  }
  return annotation;
}

std::string_view voc_name(std::string_view tag) {
  static constexpr std::array<std::array<std::string_view, 2>, 5> kOther{{{"plane", "aeroplane"},
                                                                          {"bike", "bicycle"},
                                                                          {"table", "diningtable"},
                                                                          {"plant", "pottedplant"},
                                                                          {"monitor", "tvmonitor"}}};
  const auto* found = std::ranges::find(kOther, tag, [](const auto& pair) { return pair[0]; });
  return found == kOther.end() ? tag : (*found)[1];
}

}  // namespace scrawl
