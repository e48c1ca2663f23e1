#include "data/annotations/collect_tags.h"

#include <gtest/gtest.h>

#include "tests/data/temporary_directory.h"

namespace scrawl {
namespace {

const ClassList kClasses = class_list({"background", "cat", "dog", "bird"}, "test");

TEST(CollectTags, FromLabelMaps) {
  const TemporaryDirectory directory;
  write_label_map(directory.path / "a.png", {1, 4, {0, 3, 255, 3}}, voc_palette());
  write_label_map(directory.path / "b.png", {1, 2, {1, 2}}, voc_palette());
  write_label_map(directory.path / "c.png", {1, 1, {255}}, voc_palette());
  EXPECT_EQ(tags_of_label_maps(directory.path, kClasses, 255),
            (Tags{{"a", {0, 0, 1}}, {"b", {1, 1, 0}}, {"c", {0, 0, 0}}}));
  expect_input_error([&] { tags_of_label_maps(directory.path, kClasses, 3); }, {".png", "label 255"});
  write_label_map(directory.path / "d.png", {1, 1, {7}}, voc_palette());
  expect_input_error([&] { tags_of_label_maps(directory.path, kClasses, 255); }, {"d.png", "label 7"});
}

TEST(CollectTags, FromObjectsOfVoc) {
  const TemporaryDirectory directory;
  const std::string parts = "<part><name>head</name></part>";
  write_bytes(
      directory.path / "2007_000027.xml",
      "<annotation><filename>2007_000027.jpg</filename><object><name>dog</name>" + parts +
          "</object><object>\n<name>dog</name></object><object><name>cat</name></object></annotation>");
  write_bytes(directory.path / "2007_000028.xml", "<annotation></annotation>");
  EXPECT_EQ(tags_of_voc_objects(directory.path, kClasses),
            (Tags{{"2007_000027", {1, 1, 0}}, {"2007_000028", {0, 0, 0}}}));
  write_bytes(directory.path / "2007_000029.xml",
              "<annotation><object><name>zebra</name></object></annotation>");
  expect_input_error([&] { tags_of_voc_objects(directory.path, kClasses); }, {"2007_000029.xml", "'zebra'"});
}

}  // namespace
}  // namespace scrawl
