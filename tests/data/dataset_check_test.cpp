#include "data/dataset_check.h"

#include <gmock/gmock.h>

#include "data/image.h"
#include "engine/files.h"
#include "tests/data/small_set.h"
#include "tests/paths.h"

namespace scrawl {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

/// Six sound samples in the training list; each test spoils some.
class DatasetCheck : public testing::Test {
 protected:
  DatasetCheck() : set_(6) {}

  std::filesystem::path label(int i) const { return set_.root() / fmt::format("ScribbleLabels/s{}.png", i); }
  std::filesystem::path image(int i) const { return set_.root() / fmt::format("JPEGImages/s{}.jpg", i); }
  SetCheck check(int threads = 0) const { return check_set(set_.config(), "training", threads); }
  void write_label(int i, std::vector<uint8_t> values) const {
    const Image photo = SmallSet::image(i);
    values.resize(size_t{1} * photo.height * photo.width, kUnlabelled);
    write_label_map(label(i), {photo.height, photo.width, std::move(values)}, Palette{});
  }

  SmallSet set_;
};

TEST_F(DatasetCheck, CountsASoundSet) {
  int calls = 0;
  const SetCheck set = check_set(set_.config(), "training", 2, [&](int done, int total) {
    EXPECT_EQ(done, ++calls);
    EXPECT_EQ(total, 6);
  });
  EXPECT_EQ(calls, 6);
  EXPECT_FALSE(set.broken);
  EXPECT_THAT(set.faults, IsEmpty());
  EXPECT_EQ(set.ids.size(), 6u);
  ASSERT_EQ(set.classes.size(), 4u);
  EXPECT_EQ(set.classes[0].images, 0);
  for (int k = 1; k < 4; ++k) {
    EXPECT_EQ(set.classes[k].images, 2) << k;
    EXPECT_EQ(set.classes[k].pixels, 2) << k;
  }
  EXPECT_EQ(set.labelled, 6);
  int64_t pixels = 0;
  for (int i = 0; i < 6; ++i) pixels += int64_t{1} * SmallSet::image(i).height * SmallSet::image(i).width;
  EXPECT_EQ(set.pixels, pixels);
  EXPECT_DOUBLE_EQ(set.labelled_share(), 6.0 / static_cast<double>(pixels));
  EXPECT_EQ(set.height.least, 20);
  EXPECT_EQ(set.height.median, 29);
  EXPECT_EQ(set.height.most, 35);
  EXPECT_EQ(set.width.most, 34);
  EXPECT_FALSE(set.tags_from_file);
  EXPECT_FALSE(obstacle(set, set, 6));
}

TEST_F(DatasetCheck, NamesEveryFaultInTheOrderOfTheList) {
  std::filesystem::remove(image(0));
  std::filesystem::remove(label(0));
  write_bytes(image(1), read_file(image(1)).substr(0, 200));
  write_bytes(label(2), "not a PNG");
  write_png(label(3), SmallSet::image(3));
  write_label_map(label(4), {2, 3, std::vector<uint8_t>(6)}, Palette{});
  write_label(5, {1, 7, 9, 7});
  for (const int threads : {1, 3}) {
    const SetCheck set = check(threads);
    const std::vector<std::pair<FaultKind, std::string>> expected{
        {FaultKind::missing, "JPEGImages/s0: no such image"},
        {FaultKind::missing, "ScribbleLabels/s0.png: no such label map"},
        {FaultKind::unreadable, "s1.jpg: the JPEG is cut short"},
        {FaultKind::unreadable, "s2.png: cannot be read as a PNG"},
        {FaultKind::unreadable, "s3.png: expected a label map"},
        {FaultKind::sizes_differ, "s4.png: the label map is 3 x 2, its image 32 x 32"},
        {FaultKind::stray_labels,
         "s5.png: 3 pixels hold 7, 9 (the first: x 1, y 0), expected 0 to 3 or 255"}};
    ASSERT_EQ(set.faults.size(), expected.size());
    for (size_t i = 0; i < expected.size(); ++i) {
      EXPECT_EQ(set.faults[i].kind, expected[i].first) << i;
      EXPECT_THAT(set.faults[i].what, HasSubstr(expected[i].second));
      EXPECT_THAT(set.faults[i].what, HasSubstr(set.faults[i].id));
    }
    EXPECT_EQ(set.faults_of(FaultKind::unreadable), 3);
    EXPECT_EQ(set.stray.at(7).pixels, 2);
    EXPECT_EQ(set.stray.at(9).images, 1);
    EXPECT_EQ(set.labelled, 1);  // of the only label map without a fault, whose image has one
    EXPECT_TRUE(set.labels[1].read());
    for (const int i : {0, 2, 3, 4, 5}) EXPECT_FALSE(set.labels[i].read()) << i;
    EXPECT_THAT(
        *obstacle(set, set, 1),
        HasSubstr("JPEGImages/s0: no such image (.jpg, .jpeg or .png) (and 6 more in the training set)"));
  }
}

TEST_F(DatasetCheck, ReadsAnotherIgnoreLabel) {
  DatasetConfig config = set_.config();
  config.ignore_label = 9;
  EXPECT_EQ(check_set(config, "training").faults_of(FaultKind::stray_labels), 6);  // 255 is nothing now
  for (int i = 0; i < 6; ++i) {
    const Image photo = SmallSet::image(i);
    std::vector<uint8_t> values(size_t{1} * photo.height * photo.width, 9);
    values[3] = 2;
    write_label_map(label(i), {photo.height, photo.width, values}, Palette{});
  }
  const SetCheck set = check_set(config, "training");
  EXPECT_THAT(set.faults, IsEmpty());
  EXPECT_EQ(set.labelled, 6);
}

TEST_F(DatasetCheck, FindsFaultsOfTags) {
  std::filesystem::copy_file(fixture("cls_labels_p2.npy"), set_.root() / "cls_labels.npy");
  EXPECT_EQ(check().faults_of(FaultKind::tags), 6);
  EXPECT_THAT(check().faults.front().what, HasSubstr("no tags for image s0"));
  write_bytes(set_.root() / "ImageSets/train.txt", "2007_000032\n");
  std::filesystem::copy_file(image(0), set_.root() / "JPEGImages/2007_000032.jpg");
  std::filesystem::copy_file(label(0), set_.root() / "ScribbleLabels/2007_000032.png");
  EXPECT_THAT(check().faults.at(0).what, HasSubstr("20 tags for image 2007_000032, expected 3"));
  EXPECT_TRUE(check().labels[0].tagged.none());

  DatasetConfig config = set_.config();
  config.classes = 21;
  const SetCheck set = check_set(config, "training");
  EXPECT_THAT(set.faults, IsEmpty());
  EXPECT_TRUE(set.tags_from_file);
  EXPECT_EQ(set.classes[0].tagged, 1);
  EXPECT_EQ(set.classes[2].tagged, 0);
  EXPECT_TRUE(set.labels[0].tagged[0]);

  write_bytes(set_.root() / "cls_labels.npy", "damaged");
  EXPECT_EQ(check().faults_of(FaultKind::tags), 1);
  EXPECT_THAT(check().faults.at(0).what, HasSubstr("cls_labels.npy"));
}

TEST_F(DatasetCheck, SaysWhatKeepsTrainingFromStarting) {
  const SetCheck sound = check();
  EXPECT_THAT(*obstacle(sound, sound, 7), HasSubstr("6 images do not fill one batch of 7"));
  DatasetConfig config = set_.config();
  config.list = "ImageSets/val.txt";
  const SetCheck broken = check_set(config, "validation");
  EXPECT_THAT(*broken.broken, HasSubstr("val.txt: no such file"));
  EXPECT_EQ(obstacle(sound, broken, 1), broken.broken);
  EXPECT_THAT(check_warnings(sound, broken, std::vector<std::string>{"background", "a", "b", "c"}),
              testing::ElementsAre("no training label map shows background"));
}

TEST_F(DatasetCheck, ASetWithoutALabelledPixelIsNothingToLearnFrom) {
  require_labels(Dataset(set_.config()));
  for (int i = 0; i < 6; ++i) write_label(i, {});
  const SetCheck set = check();
  EXPECT_THAT(*obstacle(set, set, 6), HasSubstr("none of the label maps in"));
  expect_input_error([&] { require_labels(Dataset(set_.config())); },
                     {"train.txt", "ScribbleLabels", "labelled pixel"});
  write_label(5, {255, 3});
  EXPECT_FALSE(obstacle(check(), check(), 6));
  require_labels(Dataset(set_.config()));
}

TEST_F(DatasetCheck, WarnsOfScribblesToScoreOnAndOfListsThatOverlap) {
  const SetCheck set = check();
  const std::vector<std::string> warnings =
      check_warnings(set, set, std::vector<std::string>{"background", "a", "b", "c"});
  EXPECT_THAT(warnings, testing::Contains(HasSubstr("6 validation images are in the training list too")));
  EXPECT_THAT(warnings, testing::Contains(HasSubstr("look like scribbles")));
}

}  // namespace
}  // namespace scrawl
