#include "train/report/class_names.h"

#include <gtest/gtest.h>

#include <fstream>

#include "engine/error.h"
#include "tests/data/temporary_directory.h"

namespace scrawl {
namespace {

class ClassNames : public testing::Test {
 protected:
  std::vector<std::string> names(const std::string& text, int classes) {
    std::ofstream(directory_.path / "classes.txt", std::ios::binary) << text;
    return read_class_names(directory_.path, classes);
  }
  TemporaryDirectory directory_;
};

TEST_F(ClassNames, AreTheLinesOfTheFile) {
  EXPECT_EQ(names("\xEF\xBB\xBFground\r\n\r\n B\xC3\xA4r \n", 2),
            (std::vector<std::string>{"ground", "B\xC3\xA4r"}));
}

TEST_F(ClassNames, AreRefusedWhenScoresCouldNotBeWrittenUnderThem) {
  EXPECT_THROW(names("ground\nB\xE4r\n", 2), InputError);
  EXPECT_THROW(names("ground\nbear\nbear\n", 3), InputError);
  EXPECT_THROW(names("ground\nbear\n", 3), InputError);
}

}  // namespace
}  // namespace scrawl
