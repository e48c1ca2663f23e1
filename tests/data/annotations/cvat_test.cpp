#include "data/annotations/cvat.h"

#include <gtest/gtest.h>

#include "tests/data/annotations/points.h"
#include "tests/data/temporary_directory.h"

namespace scrawl {
namespace {

const std::string kMeta =
    "<meta><task><id>5</id><labels>"
    "<label><name>road</name><color>#804080</color><attributes></attributes></label>"
    "<label><name>sky</name></label></labels></task></meta>";

AnnotationFile parse(const std::string& content) {
  return parse_cvat("<?xml version=\"1.0\" encoding=\"utf-8\"?><annotations><version>1.1</version>" + kMeta +
                        content + "</annotations>",
                    "task.xml");
}
Annotation parse_image(const std::string& shapes, const std::string& name = "a.png") {
  return parse("<image id=\"0\" name=\"" + name + "\" width=\"70\" height=\"50\">" + shapes + "</image>")
      .images.at(0);
}

TEST(Cvat, ReadsImagesAndTheClassesOfTheTask) {
  const AnnotationFile file = parse(
      "<image id=\"0\" name=\"day 1/a.png\" width=\"70\" height=\"50\"/>"
      "<image id=\"1\" name=\"b.jpg\" width=\"7\" height=\"5\"><tag label=\"rain\"/></image>");
  ASSERT_EQ(file.images.size(), 2u);
  EXPECT_EQ(file.images[0].id, "day 1/a");
  EXPECT_EQ(file.images[0].width, 70);
  EXPECT_EQ(file.images[0].height, 50);
  EXPECT_TRUE(file.images[1].skipped.empty());
  EXPECT_EQ(file.classes.at("road"), (Palette::value_type{0x80, 0x40, 0x80}));
  EXPECT_TRUE(file.classes.contains("sky"));
}

TEST(Cvat, KnowsItsKindsOfShapes) {
  const Annotation image = parse_image(R"(
    <polyline label="road" source="manual" occluded="0" points="1.50,2.50;3.00,4.25" z_order="0"></polyline>
    <points label="sky" points="5,6;7,8"/>
    <polygon label="sky" points="0,0;4,0;4,4"/>
    <box label="road" xtl="2.5" ytl="1.5" xbr="9.5" ybr="4.5"/>
    <ellipse label="road" cx="20.5" cy="20.5" rx="4" ry="2" rotation="90"/>
    <cuboid label="road" xtl1="1"/><mask label="sky" rle="1, 2"/><mask label="sky" rle="3"/>)");
  ASSERT_EQ(image.shapes.size(), 5u);
  EXPECT_EQ(image.shapes[0].kind, DrawnShape::Kind::stroke);
  EXPECT_EQ(image.shapes[0].name, "road");
  EXPECT_EQ(pairs(image.shapes[0].points), (Pairs{{1, 2}, {2.5f, 3.75f}}));
  EXPECT_EQ(image.shapes[1].kind, DrawnShape::Kind::points);
  EXPECT_EQ(pairs(image.shapes[1].points), (Pairs{{4.5f, 5.5f}, {6.5f, 7.5f}}));
  EXPECT_EQ(image.shapes[2].kind, DrawnShape::Kind::area);
  EXPECT_EQ(pairs(image.shapes[3].points), (Pairs{{2, 1}, {9, 1}, {9, 4}, {2, 4}}));
  EXPECT_EQ(image.shapes[4].kind, DrawnShape::Kind::ellipse);
  ASSERT_EQ(image.shapes[4].points.size(), 3u);
  const Pairs ends{{20, 20}, {20, 24}, {18, 20}};  // turned by a quarter
  for (size_t i = 0; i < ends.size(); ++i) {
    EXPECT_NEAR(image.shapes[4].points[i].x, ends[i].first, 1e-4f);
    EXPECT_NEAR(image.shapes[4].points[i].y, ends[i].second, 1e-4f);
  }
  EXPECT_EQ(image.skipped, (std::map<std::string, int>{{"cuboid", 1}, {"mask", 2}}));
}

TEST(Cvat, TurnsBoxesAboutTheirMiddle) {
  const Annotation image =
      parse_image(R"(<box label="road" xtl="10.5" ytl="10.5" xbr="20.5" ybr="14.5" rotation="90.00"/>)");
  const Pairs expected{{17, 7}, {17, 17}, {13, 17}, {13, 7}};
  ASSERT_EQ(image.shapes[0].points.size(), 4u);
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_NEAR(image.shapes[0].points[i].x, expected[i].first, 1e-4f) << i;
    EXPECT_NEAR(image.shapes[0].points[i].y, expected[i].second, 1e-4f) << i;
  }
}

TEST(Cvat, LaysShapesOverEachOtherByTheirOrder) {
  const Annotation image = parse_image(R"(<points label="a" points="1,1" z_order="2"/>
      <points label="b" points="1,1" z_order="-1"/><points label="c" points="1,1"/><points label="d" points="1,1"/>)");
  std::string names;
  for (const DrawnShape& shape : image.shapes) names += shape.name;
  EXPECT_EQ(names, "bcda");
}

TEST(Cvat, SaysWhatIsWrongAndWhere) {
  const auto refused = [](const std::string& shapes, std::initializer_list<std::string> words) {
    expect_input_error([&] { parse_image(shapes); }, words);
  };
  const std::string good = "<points label=\"a\" points=\"1,1\"/>";
  refused(good + R"(<polyline label="a" points=""/>)", {"task.xml", "'a.png'", "shape 2", "points="});
  refused(good + R"(<polyline label="a" points="1,2;3"/>)", {"shape 2", "point 2", "'3'"});
  refused(good + R"(<polyline label="a" points="1,2;;"/>)", {"shape 2", "point 2"});
  refused(good + R"(<polyline label="a" points="1,nan"/>)", {"shape 2", "point 1", "finite", "1,nan"});
  refused(good + R"(<polyline label="a" points="1,2,3"/>)", {"shape 2", "1,2,3"});
  refused(good + R"(<polyline points="1,2"/>)", {"shape 2", "label"});
  refused(good + R"(<box label="a" xtl="1" ytl="2" xbr="inf" ybr="3"/>)", {"shape 2", "xbr", "inf"});
  refused(good + R"(<points label="a" points="1,1" z_order="0.5"/>)", {"shape 2", "z_order", "whole"});
  expect_input_error([] { parse_image("", std::string(5000, 'n')); }, {"5000 characters"});
  for (const char* name : {"../a.png", "/etc/a.png", "b/../../a.png", "", ".."})
    expect_input_error([&] { parse_image("", name); }, {"no name of an image"});
  expect_input_error([] { parse("<image id=\"0\" name=\"a.png\" width=\"1e9\" height=\"50\"/>"); },
                     {"'a.png'", "width"});
  expect_input_error([] { parse("<track id=\"0\" label=\"road\"></track>"); }, {"video", "CVAT for images"});
  expect_input_error([] { parse_cvat("<annotation/>", "task.xml"); }, {"<annotations>", "<annotation>"});
}

TEST(Cvat, KeepsHugeNumbersWithinReach) {
  const Annotation image = parse_image(
      R"(<ellipse label="a" cx="3e38" cy="-3e38" rx="3e38" ry="1" rotation="3e38"/>
         <box label="a" xtl="-3e38" ytl="-3e38" xbr="3e38" ybr="3e38" rotation="45"/>)");
  for (const DrawnShape& shape : image.shapes) {
    EXPECT_LE(shape.points.size(), 4u);
    for (const Point p : shape.points) EXPECT_LT(length(p), 4e6f);
  }
}

}  // namespace
}  // namespace scrawl
