#include "data/annotations/scribblesup.h"

#include <gtest/gtest.h>

#include "tests/data/annotations/points.h"
#include "tests/data/temporary_directory.h"

namespace scrawl {
namespace {

std::string polygon(const std::string& tag, const std::string& points) {
  return "<polygon><tag>" + tag + "</tag>" + points + "</polygon>";
}
std::string point(const std::string& x, const std::string& y) {
  return "\n<point>\n<X>" + x + "</X>\n<Y> " + y + " </Y>\n</point>";
}
std::string file(const std::string& content) {
  return "<?xml "
         "version=\"1.0\"?>\n<annotation>\n<folder>anno</folder><size><width>70</width><height>50</height></"
         "size>" +
         content + "</annotation>\n";
}
Annotation parse(const std::string& xml) {
  return parse_scribblesup(xml, "000001", "x.xml");
}

TEST(ScribbleSup, EveryPolygonIsAnOpenStroke) {
  const Annotation annotation = parse(file(polygon("plane", point("167", "46") + point("-3", "900")) +
                                           polygon(" background ", point("5", "6"))));
  EXPECT_EQ(annotation.id, "000001");
  EXPECT_EQ(annotation.width, 0);
  ASSERT_EQ(annotation.shapes.size(), 2u);
  EXPECT_EQ(annotation.shapes[0].kind, DrawnShape::Kind::stroke);
  EXPECT_EQ(annotation.shapes[0].name, "plane");
  EXPECT_EQ(pairs(annotation.shapes[0].points), (Pairs{{167, 46}, {-3, 900}}));
  EXPECT_EQ(annotation.shapes[1].name, "background");
  EXPECT_EQ(pairs(annotation.shapes[1].points), (Pairs{{5, 6}}));
  EXPECT_TRUE(parse(file("")).shapes.empty());
}

TEST(ScribbleSup, CallsSomeClassesOtherwiseThanVoc) {
  EXPECT_EQ(voc_name("plane"), "aeroplane");
  EXPECT_EQ(voc_name("bike"), "bicycle");
  EXPECT_EQ(voc_name("table"), "diningtable");
  EXPECT_EQ(voc_name("plant"), "pottedplant");
  EXPECT_EQ(voc_name("monitor"), "tvmonitor");
  EXPECT_EQ(voc_name("motorbike"), "motorbike");
}

TEST(ScribbleSup, SaysWhatIsWrongAndWhere) {
  expect_input_error([] { parse(file(polygon("cat", ""))); }, {"x.xml", "polygon 1", "<point>"});
  expect_input_error([] { parse(file(polygon("", point("1", "2")))); }, {"polygon 1", "<tag>"});
  for (const char* number : {"nan", "inf", "1e99", "", "4x", "0x10"}) {
    expect_input_error(
        [&] { parse(file(polygon("cat", point("1", "2")) + polygon("cat", point(number, "2")))); },
        {"polygon 2", "finite", number});
  }
  expect_input_error([] { parse("<annotations></annotations>"); }, {"<annotation>", "<annotations>"});
  expect_input_error([] { parse("just text"); }, {"x.xml", "not valid XML"});
  expect_input_error([] { parse(""); }, {"x.xml", "not valid XML"});
}

TEST(ScribbleSup, RefusesFilesThatAreCutShort) {
  const std::string whole = file(polygon("cat", point("10", "20") + point("30", "40")));
  const size_t end = whole.find_last_not_of('\n');
  for (size_t length = 0; length <= end; ++length)
    expect_input_error([&] { parse(whole.substr(0, length)); }, {"x.xml"});
}

TEST(ScribbleSup, RefusesFilesThatWouldGrowInMemory) {
  std::string tiny_elements = "<annotation>";
  for (int i = 0; i < 100000; ++i) tiny_elements += "<a/>";
  expect_input_error([&] { parse(tiny_elements + "</annotation>"); }, {"x.xml", "elements", "refused"});
  std::string deep;
  for (int i = 0; i < 20000; ++i) deep += "<polygon>";
  expect_input_error([&] { parse(deep); }, {"x.xml", "not valid XML"});
  const std::string entities = "<!DOCTYPE a [<!ENTITY b \"bbbbbbbb\"><!ENTITY c \"&b;&b;\">]>";
  EXPECT_EQ(parse(entities + file(polygon("&c;", point("1", "2")))).shapes[0].name, "&c;");
}

}  // namespace
}  // namespace scrawl
