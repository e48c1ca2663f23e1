#include "data/annotations/prepared_set.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "data/image.h"
#include "engine/files.h"
#include "tests/data/temporary_directory.h"

namespace scrawl {
namespace {

namespace fs = std::filesystem;
using Lines = std::vector<std::string>;

/// Photos of 12 x 8 (width x height) and annotations of them.
class PreparedSetTest : public testing::Test {
 protected:
  void photo(const std::string& name) const {
    write_png(root() / "photos" / name, {8, 12, std::vector<uint8_t>(size_t{3} * 8 * 12, 77)});
  }
  /// An annotation with one stroke of the class "cat" from (2, 3) to (8, 3); its photo, too.
  void annotate(const std::string& id) {
    photo(id + ".png");
    annotations_.images.push_back(
        {.id = id,
         .shapes = {{.kind = DrawnShape::Kind::stroke, .name = "cat", .points = {{2, 3}, {8, 3}}}}});
  }
  PreparedSet prepare(const PrepareConfig& more = {}) {
    PrepareConfig config = more;
    config.images = root() / "photos";
    fs::remove_all(out());
    fs::create_directories(out());
    return prepare_set(out(), annotations_, classes_, config);
  }
  LabelMap scribble(const std::string& id) const {
    return read_label_map(out() / "ScribbleLabels" / (id + ".png"), 3);
  }
  Lines list(const char* name) const { return read_lines(out() / "ImageSets" / name); }

  const fs::path& root() const { return directory_.path; }
  fs::path out() const { return root() / "out"; }

  AnnotationSet annotations_;
  ClassList classes_ = class_list({"background", "cat", "dog"}, "test");

 private:
  TemporaryDirectory directory_;
};

TEST_F(PreparedSetTest, DrawsLaterShapesOverEarlierOnes) {
  annotate("a");
  annotate("b");
  auto& shapes = annotations_.images[0].shapes;
  shapes.push_back({.kind = DrawnShape::Kind::area,
                    .name = "dog",
                    .points = {{3.5f, -0.5f}, {5.5f, -0.5f}, {5.5f, 9}, {3.5f, 9}}});
  shapes.push_back({.kind = DrawnShape::Kind::points, .name = "background", .points = {{10, 6}, {200, 200}}});
  shapes.push_back({.kind = DrawnShape::Kind::points, .name = "__ignore__", .points = {{2, 3}}});
  annotations_.images[0].skipped["mask"] = 2;
  const PreparedSet set = prepare();
  std::string drawn;
  const LabelMap map = scribble("a");
  for (size_t i = 0; i < map.labels.size(); ++i) {
    if (i % 12 == 0) drawn += '\n';
    drawn += map.labels[i] == kUnlabelled ? '.' : static_cast<char>('0' + map.labels[i]);
  }
  EXPECT_EQ(drawn, R"(
....22......
....22......
....22111...
....22111...
....22111...
....22...000
....22...000
....22...000)");
  EXPECT_EQ(set.pixels, 2 * 96);
  EXPECT_EQ(set.outside, 1);
  EXPECT_EQ(set.skipped.at("mask"), 2);
  const auto& [images, drawn_shapes, pixels] = set.classes[1];
  EXPECT_EQ(images, 2);
  EXPECT_EQ(drawn_shapes, 2);
  EXPECT_EQ(pixels, 9 + 21);
  EXPECT_EQ(set.classes[0].pixels, 9);
  EXPECT_EQ(set.classes[2].pixels, 16);
  EXPECT_EQ(scribble("b").labels[3 * 12 + 2], 1);
}

TEST_F(PreparedSetTest, DrawsStrokesAsWideAsAsked) {
  annotate("a");
  prepare({.width = 5});
  EXPECT_EQ(std::ranges::count(scribble("a").labels, 1), 5 * 7);
}

TEST_F(PreparedSetTest, HoldsEveryTenthImageOut) {
  for (int i = 0; i < 23; ++i) annotate(fmt::format("{:02}", i));
  annotations_.images[5].shapes.clear();
  const PreparedSet set = prepare();
  EXPECT_EQ(set.empty, Lines{"05"});
  EXPECT_EQ(set.train, 20);
  EXPECT_EQ(set.val, 2);
  EXPECT_EQ(list("val.txt"), (Lines{"10", "20"}));
  const Lines train = list("train.txt");
  EXPECT_EQ(train.size(), 20u);
  for (const char* id : {"05", "10", "20"}) EXPECT_EQ(std::ranges::count(train, id), 0) << id;
  EXPECT_FALSE(fs::exists(out() / "ScribbleLabels/05.png"));
}

TEST_F(PreparedSetTest, HoldsOutWhatTheListSays) {
  for (const char* id : {"a", "b", "c"}) annotate(id);
  write_bytes(root() / "list.txt", "b\nnowhere\n");
  prepare({.val_list = root() / "list.txt"});
  EXPECT_EQ(list("val.txt"), Lines{"b"});
  EXPECT_EQ(list("train.txt"), (Lines{"a", "c"}));
  write_bytes(root() / "list.txt", "nowhere\n");
  expect_input_error([&] { prepare({.val_list = root() / "list.txt"}); },
                     {"list.txt", "validated on", "scribble"});
  write_bytes(root() / "list.txt", "a\nb\nc\n");
  expect_input_error([&] { prepare({.val_list = root() / "list.txt"}); }, {"left to train on"});
}

TEST_F(PreparedSetTest, ValidatesOnMasksWhereThereAreSome) {
  for (const char* id : {"a", "b", "c"}) annotate(id);
  photo("only_masked.png");
  for (const char* id : {"b", "only_masked", "without_photo"})
    write_label_map(root() / "masks" / (std::string(id) + ".png"), {1, 1, {0}}, voc_palette());
  prepare({.masks = root() / "masks"});
  EXPECT_EQ(list("val.txt"), Lines{"b"});
  EXPECT_TRUE(fs::exists(out() / "SegmentationClass/b.png"));
  write_bytes(root() / "list.txt", "a\nonly_masked\nwithout_photo\n");
  prepare({.masks = root() / "masks", .val_list = root() / "list.txt", .copy_images = true});
  EXPECT_EQ(list("val.txt"), Lines{"only_masked"});
  EXPECT_EQ(list("train.txt"), (Lines{"a", "b", "c"}));
  EXPECT_TRUE(fs::exists(out() / "JPEGImages/only_masked.png"));
}

TEST_F(PreparedSetTest, LinksOrCopiesThePhotos) {
  annotate("a");
  annotate("folder/b");
  annotations_.images[1].id = "folder/b";
  prepare();
  EXPECT_TRUE(fs::is_symlink(out() / "JPEGImages"));
  EXPECT_TRUE(fs::exists(out() / "JPEGImages/folder/b.png"));
  EXPECT_EQ(scribble("folder/b").width, 12);
  prepare({.copy_images = true});
  fs::remove_all(root() / "photos");
  EXPECT_EQ(read_image(out() / "JPEGImages/folder/b.png").width, 12);
  EXPECT_EQ(read_image(out() / "JPEGImages/a.png").width, 12);
}

TEST_F(PreparedSetTest, SaysWhichPhotosDoNotFit) {
  annotate("a");
  annotate("b");
  annotations_.images[1].width = 13;
  annotations_.images[1].height = 8;
  expect_input_error([&] { prepare(); }, {"b.png", "12 x 8", "13 x 8"});
  fs::remove(root() / "photos/b.png");
  expect_input_error([&] { prepare(); }, {"photos/b", "no such image", "1 of the 2"});
  write_bytes(root() / "photos/b.jpg", "no photo");
  expect_input_error([&] { prepare(); }, {"b.jpg", "cannot be read"});
}

TEST_F(PreparedSetTest, SaysWhichNameIsNoClass) {
  annotate("a");
  annotations_.images[0].shapes[0].name = "zebra";
  expect_input_error([&] { prepare(); }, {"'a'", "'zebra'", "3 classes"});
  annotations_.images[0].shapes.clear();
  expect_input_error([&] { prepare(); }, {"nothing is drawn"});
}

TEST(ClassOf, KnowsOtherNames) {
  EXPECT_EQ(class_of("tvmonitor", voc_classes()), 20);
  EXPECT_EQ(class_of("monitor", voc_classes()), 20);
  EXPECT_EQ(class_of("_background_", voc_classes()), 0);
  EXPECT_EQ(class_of("__ignore__", voc_classes()), kUnlabelled);
  const ClassList classes = class_list({"ground", "plant", "background"}, "test");
  EXPECT_EQ(class_of("plant", classes), 1);
  EXPECT_EQ(class_of("background", classes), 2);
  EXPECT_EQ(class_of("_background_", classes), 0);
}

class ReadAnnotations : public testing::Test {
 protected:
  void write(const std::string& name, const std::string& image, const std::string& label) const {
    write_bytes(path() / name,
                fmt::format(R"({{"shapes": [{{"label": "{}", "points": [[1, 1]], "shape_type": "point"}}],
                                             "imagePath": "{}"}})",
                            label, image));
  }
  const fs::path& path() const { return directory_.path; }

 private:
  TemporaryDirectory directory_;
};

TEST_F(ReadAnnotations, CollectsSortedImagesAndClasses) {
  write("1.json", "b.jpg", "tree");
  write("2.json", "a.jpg", "_background_");
  write("3.json", "c.jpg", "lake");
  write("4.json", "d.jpg", "__ignore__");
  write("readme.txt", "", "");
  const AnnotationSet set = read_annotations(AnnotationFormat::labelme, path());
  Lines ids;
  for (const Annotation& image : set.images) ids.push_back(image.id);
  EXPECT_EQ(ids, (Lines{"a", "b", "c", "d"}));
  EXPECT_EQ(set.classes.names, (Lines{"background", "lake", "tree"}));
  EXPECT_EQ(read_annotations(AnnotationFormat::labelme, path() / "3.json").images.size(), 1u);
}

TEST_F(ReadAnnotations, TakesColoursFromCvat) {
  write_bytes(
      path() / "a.xml",
      "<annotations><meta><job><labels><label><name>sky</name><color>#0102ff</color></label></labels></job>"
      "</meta></annotations>");
  const AnnotationSet set = read_annotations(AnnotationFormat::cvat, path());
  EXPECT_EQ(set.classes.names, (Lines{"background", "sky"}));
  EXPECT_EQ(set.classes.palette[1], (Palette::value_type{1, 2, 255}));
}

TEST_F(ReadAnnotations, RefusesFoldersThatItCannotUse) {
  const auto read = [&] { read_annotations(AnnotationFormat::labelme, path()); };
  expect_input_error(read, {path().string(), "no .json files"});
  write("1.json", "b.jpg", "tree");
  write("2.json", "b.png", "tree");
  expect_input_error(read, {"'b'", "annotated twice"});
  write("2.json", "c.png", "two\\nlines");
  expect_input_error(read, {"class 2", "control character"});
  expect_input_error([&] { read_annotations(AnnotationFormat::labelme, path() / "nowhere"); },
                     {"nowhere", "no such folder"});
}

}  // namespace
}  // namespace scrawl
