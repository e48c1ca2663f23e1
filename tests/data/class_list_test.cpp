#include "data/class_list.h"

#include <gtest/gtest.h>

#include "tests/data/temporary_directory.h"

namespace scrawl {
namespace {

using Colour = Palette::value_type;
using Names = std::vector<std::string>;

class ClassListFile : public testing::Test {
 protected:
  ClassList read(const std::string& text) {
    write_bytes(path(), text);
    return read_class_list(path());
  }
  void expect_refused(const std::string& text, std::initializer_list<std::string> words) {
    expect_input_error([&] { read(text); }, words);
  }
  const std::filesystem::path& root() const { return directory_.path; }
  std::filesystem::path path() const { return root() / "classes.txt"; }

 private:
  TemporaryDirectory directory_;
};

TEST_F(ClassListFile, HoldsANameALine) {
  EXPECT_EQ(read("\xEF\xBB\xBFground\r\n\r\n B\xC3\xA4r \n").names, (Names{"ground", "B\xC3\xA4r"}));
}

TEST_F(ClassListFile, MayGiveColours) {
  const ClassList classes = read("ground\ntraffic light 250 170\t30\nsky  #4682b4\nclass 3\nzone 1 2\n");
  EXPECT_EQ(classes.names, (Names{"ground", "traffic light", "sky", "class 3", "zone 1 2"}));
  EXPECT_EQ(classes.palette[1], (Colour{250, 170, 30}));
  EXPECT_EQ(classes.palette[2], (Colour{0x46, 0x82, 0xb4}));
  for (const int usual : {0, 3, 4, 255}) EXPECT_EQ(classes.palette[usual], voc_palette()[usual]) << usual;
}

TEST_F(ClassListFile, SaysWhichColourIsNone) {
  expect_refused("ground\nsky 0 256 0\n", {"classes.txt", "class 1", "'256'", "0 to 255"});
  expect_refused("ground\nsky #12345\n", {"class 1", "'#12345'", "#rrggbb"});
  expect_refused("ground\nsky #12345g\n", {"'#12345g'"});
  expect_refused("sky #-12345\n", {"'#-12345'"});
}

TEST_F(ClassListFile, IsRefusedWhenScoresCouldNotBeWrittenUnderItsNames) {
  expect_refused("ground\nB\xE4r\n", {"class 1", "UTF-8"});
  expect_refused("ground\nbear\nbear\n", {"'bear'", "two classes"});
  expect_refused("\n", {"0 classes"});
  std::string many;
  for (int i = 0; i < 256; ++i) many += "c" + std::to_string(i) + "\n";
  expect_refused(many, {"256 classes", "255"});
}

TEST_F(ClassListFile, IsWrittenAsItIsRead) {
  ClassList classes = class_list({"ground", "zone 1 2 3", "odd #name"}, "test");
  classes.palette[2] = {1, 20, 255};
  write_class_list(path(), classes);
  const ClassList again = read_class_list(path());
  EXPECT_EQ(again.names, classes.names);
  EXPECT_EQ(again.palette, classes.palette);
}

TEST_F(ClassListFile, DecidesForItsDataSet) {
  write_bytes(path(), "ground\nbear\n");
  EXPECT_EQ(classes_of(root(), 2).names, (Names{"ground", "bear"}));
  expect_input_error([&] { classes_of(root(), 3); }, {"classes.txt", "2 classes", "dataset.num_classes=2"});
  std::filesystem::remove(path());
  EXPECT_EQ(classes_of(root(), 3).names, (Names{"background", "class 1", "class 2"}));
  EXPECT_EQ(classes_of(root(), 21).names, voc_classes().names);
}

TEST(ClassList, FindsNames) {
  EXPECT_EQ(voc_classes().find("tvmonitor"), 20);
  EXPECT_EQ(voc_classes().find("monitor"), std::nullopt);
}

}  // namespace
}  // namespace scrawl
