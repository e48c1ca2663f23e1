#include "data/dataset.h"

#include <gtest/gtest.h>

#include "data/tags.h"
#include "tests/data/small_set.h"
#include "tests/paths.h"

namespace scrawl {
namespace {

TEST(Dataset, ReadsSamplesAndDerivesTheirTags) {
  const SmallSet set(3);
  const Dataset dataset(set.config());
  EXPECT_EQ(dataset.ids(), (std::vector<std::string>{"s0", "s1", "s2"}));
  EXPECT_FALSE(dataset.tags_from_file());
  const Sample sample = dataset.read(1);
  EXPECT_EQ(sample.id, "s1");
  EXPECT_EQ(sample.image.height, sample.label.height);
  EXPECT_EQ(sample.image.width, sample.label.width);
  EXPECT_EQ(sample.label.labels[0], 1 + 1 % 3);
  EXPECT_EQ(sample.present, (std::vector<uint8_t>{1, 0, 1, 0}));  // background although no pixel shows it
}

TEST(Dataset, ToleratesBlankLinesCarriageReturnsAndAByteOrderMark) {
  const SmallSet set(2);
  write_bytes(set.root() / "ImageSets/train.txt", "\xEF\xBB\xBF\r\n  s1 \r\n\n\ts0");
  EXPECT_EQ(Dataset(set.config()).ids(), (std::vector<std::string>{"s1", "s0"}));
}

TEST(Dataset, TakesAnAbsoluteListAndOtherExtensions) {
  const SmallSet set(2);
  DatasetConfig config = set.config();
  config.list = set.root() / "elsewhere.txt";
  write_bytes(config.list, "s0\n");
  std::filesystem::remove(set.root() / "JPEGImages/s0.jpg");
  write_png(set.root() / "JPEGImages/s0.png", set.image(0));
  EXPECT_EQ(Dataset(config).read(0).image.pixels, set.image(0).pixels);
}

TEST(Dataset, TakesTagsFromTheFileWhenThere) {
  const SmallSet set(1);
  std::filesystem::copy_file(fixture("cls_labels_p2.npy"), set.root() / "cls_labels.npy");
  DatasetConfig config = set.config();
  config.classes = 21;
  expect_input_error([&] { Dataset{config}; }, {"cls_labels.npy", "no tags for image s0"});

  for (const std::string part : {"JPEGImages/{}.jpg", "ScribbleLabels/{}.png"}) {
    std::filesystem::copy_file(set.root() / fmt::format(fmt::runtime(part), "s0"),
                               set.root() / fmt::format(fmt::runtime(part), "2007_000032"));
  }
  write_bytes(set.root() / "ImageSets/train.txt", "2007_000032\n");
  const Dataset dataset(config);
  EXPECT_TRUE(dataset.tags_from_file());
  const std::vector<uint8_t> present = dataset.read(0).present;
  const Tags tags = read_tags(set.root() / "cls_labels.npy");
  ASSERT_EQ(present.size(), 21);
  EXPECT_EQ(present[0], 1);
  for (int c = 1; c < 21; ++c) EXPECT_EQ(present[c], tags.at("2007_000032")[c - 1] > 0.5f) << c;

  config.classes = 4;
  expect_input_error([&] { Dataset{config}; }, {"cls_labels.npy", "20 tags", "2007_000032", "expected 3"});
}

TEST(Dataset, SaysWhatIsMissing) {
  const SmallSet set(3);
  DatasetConfig config = set.config();
  config.root = set.root() / "nowhere";
  expect_input_error([&] { Dataset{config}; }, {(set.root() / "nowhere").string(), "no such directory"});
  config = set.config();
  config.label_dir = "Labels";
  expect_input_error([&] { Dataset{config}; }, {"/Labels", "no such directory"});
  config = set.config();
  config.list = "ImageSets/none.txt";
  expect_input_error([&] { Dataset{config}; }, {"none.txt", "no such file"});
  config = set.config();
  config.classes = 0;
  expect_input_error([&] { Dataset{config}; }, {"0 classes"});
  write_bytes(set.root() / "ImageSets/train.txt", "\n \r\n");
  expect_input_error([&] { Dataset{set.config()}; }, {"train.txt", "empty"});
  write_bytes(set.root() / "ImageSets/train.txt", "s0\nx1\nx2\ns2");
  expect_input_error([&] { Dataset{set.config()}; }, {"JPEGImages/x1", "1 more of the 4 ids"});
  write_bytes(set.root() / "ImageSets/train.txt", "s0\ns1");
  std::filesystem::remove(set.root() / "ScribbleLabels/s1.png");
  expect_input_error([&] { Dataset{set.config()}; }, {"ScribbleLabels/s1.png", "no such label map"});
}

TEST(Dataset, RefusesLabelsThatDoNotFitTheImage) {
  const SmallSet set(1);
  write_label_map(set.root() / "ScribbleLabels/s0.png", LabelMap{2, 3, std::vector<uint8_t>(6)}, Palette{});
  const Dataset dataset(set.config());
  expect_input_error([&] { dataset.read(0); }, {"s0.png: the label map is 3 x 2", "s0.jpg is 24 x 20"});
}

}  // namespace
}  // namespace scrawl
