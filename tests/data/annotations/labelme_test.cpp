#include "data/annotations/labelme.h"

#include <gtest/gtest.h>

#include "tests/data/annotations/points.h"
#include "tests/data/temporary_directory.h"

namespace scrawl {
namespace {

std::string shape(const std::string& type, const std::string& points, const std::string& label = "cat") {
  return fmt::format(
      R"({{"label": "{}", "points": {}, "group_id": null, "shape_type": "{}", "flags": {{}}}})", label,
      points, type);
}
std::string file(const std::string& shapes, const std::string& image = "a.jpg") {
  return fmt::format(R"({{"version": "5.2.1", "flags": {{"label": true}}, "shapes": [{}], "imagePath": "{}",
                         "imageData": "/9j/4AAQ", "imageHeight": 50, "imageWidth": 70}})",
                     shapes, image);
}
Annotation parse(const std::string& json) {
  return parse_labelme(json, "a.json");
}
DrawnShape parse_shape(const std::string& text) {
  const Annotation annotation = parse(file(text));
  return annotation.shapes.at(0);
}

TEST(LabelMe, ReadsImageAndShapesInOrder) {
  const Annotation annotation = parse(file(shape("linestrip", "[[1.5, 2.5], [3, 4.25]]") + "," +
                                               shape("polygon", "[[0, 0], [4, 0], [4, 4]]", "b\\u00e4r"),
                                           "..\\\\photos\\\\my.cat.jpeg"));
  EXPECT_EQ(annotation.id, "my.cat");
  EXPECT_EQ(annotation.height, 50);
  EXPECT_EQ(annotation.width, 70);
  ASSERT_EQ(annotation.shapes.size(), 2u);
  EXPECT_EQ(annotation.shapes[0].name, "cat");
  EXPECT_EQ(annotation.shapes[0].kind, DrawnShape::Kind::stroke);
  // Files count from the image's corner, we from the middle of its first pixel.
  EXPECT_EQ(pairs(annotation.shapes[0].points), (Pairs{{1, 2}, {2.5f, 3.75f}}));
  EXPECT_EQ(annotation.shapes[1].name, "b\xC3\xA4r");
  EXPECT_EQ(annotation.shapes[1].kind, DrawnShape::Kind::area);
}

TEST(LabelMe, KnowsItsKindsOfShapes) {
  EXPECT_EQ(parse_shape(shape("line", "[[0, 0], [9, 9]]")).kind, DrawnShape::Kind::stroke);
  EXPECT_EQ(parse_shape(shape("point", "[[3, 4]]")).kind, DrawnShape::Kind::points);
  const DrawnShape rectangle = parse_shape(shape("rectangle", "[[9.5, 1.5], [2.5, 4.5]]"));
  EXPECT_EQ(rectangle.kind, DrawnShape::Kind::area);
  EXPECT_EQ(pairs(rectangle.points), (Pairs{{9, 1}, {2, 1}, {2, 4}, {9, 4}}));
  const DrawnShape circle = parse_shape(shape("circle", "[[20.5, 20.5], [23.5, 24.5]]"));
  EXPECT_EQ(circle.kind, DrawnShape::Kind::ellipse);
  EXPECT_EQ(pairs(circle.points), (Pairs{{20, 20}, {23, 24}, {16, 23}}));
  // Files of old versions know polygons only, and don't say so.
  EXPECT_EQ(parse_shape(R"({"label": "cat", "points": [[0, 0], [1, 0], [1, 1]]})").kind,
            DrawnShape::Kind::area);
}

TEST(LabelMe, CountsWhatScribblesCannotShow) {
  const Annotation annotation =
      parse(file(shape("mask", "[[0, 0], [9, 9]]") + "," + shape("point", "[[3, 4]]")));
  EXPECT_EQ(annotation.shapes.size(), 1u);
  EXPECT_EQ(annotation.skipped, (std::map<std::string, int>{{"mask", 1}}));
}

TEST(LabelMe, KeepsHugeNumbersWithinReach) {
  EXPECT_EQ(pairs(parse_shape(shape("line", "[[1e300, -1e300], [5.5, 99999999999999999999]]")).points),
            (Pairs{{1e6f - 0.5f, -1e6f - 0.5f}, {5, 1e6f - 0.5f}}));
}

TEST(LabelMe, SaysWhatIsWrongAndWhere) {
  const auto refused = [](const std::string& json, std::initializer_list<std::string> words) {
    expect_input_error([&] { parse(json); }, words);
  };
  const std::string good = shape("point", "[[3, 4]]") + ",";
  refused(file(good + shape("line", "[[3]]")), {"a.json", "shape 2", "1 numbers"});
  refused(file(good + shape("line", "[[3, 4, 5]]")), {"shape 2", "3 numbers"});
  refused(file(good + shape("line", "[[3, \"4\"]]")), {"shape 2", "1 numbers"});
  refused(file(good + shape("line", "[]")), {"shape 2", "\"points\""});
  refused(file(good + shape("circle", "[[3, 4]]")), {"shape 2", "circle", "1 points", "expected 2"});
  refused(file(good + shape("line", "[[3, 4]]", "")), {"shape 2", "\"label\""});
  refused(file(shape("line", "[[1e999, 0]]")), {"not valid JSON"});
  refused(file(shape("line", "[[NaN, 0]]")), {"not valid JSON"});
  refused("{}", {"\"shapes\""});
  refused("[1, 2]", {"\"shapes\""});
  refused("\"text\"", {"\"shapes\""});
  refused("7", {"\"shapes\""});
  refused(R"({"shapes": []})", {"\"imagePath\""});
  refused(file("", ".."), {"'..'", "no name of an image"});
  refused(file("", "a\\nb.jpg"), {"control character"});
  refused(R"({"imageHeight": -1, "shapes": []})", {"-1", "no size"});
  refused(std::string(100000, '['), {"deeper"});
  refused("\xFF\xFE{", {"not valid JSON"});
}

TEST(LabelMe, RefusesFilesThatAreCutShort) {
  const std::string whole = file(shape("linestrip", "[[1.5, 2.5], [3, 4.25]]"));
  for (size_t length = 0; length < whole.size(); ++length)
    expect_input_error([&] { parse(whole.substr(0, length)); }, {"a.json"});
}

}  // namespace
}  // namespace scrawl
