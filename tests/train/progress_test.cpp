#include "train/report/progress.h"

#include <gtest/gtest.h>

#include <limits>
#include <sstream>

namespace scrawl {
namespace {

TEST(Progress, FormatsDurations) {
  EXPECT_EQ(format_duration(0), "0:00");
  EXPECT_EQ(format_duration(59.6), "1:00");
  EXPECT_EQ(format_duration(754), "12:34");
  EXPECT_EQ(format_duration(3723), "1:02:03");
  EXPECT_EQ(format_duration(-1), "-:--");
  EXPECT_EQ(format_duration(std::numeric_limits<double>::infinity()), "-:--");
  EXPECT_EQ(format_duration(std::numeric_limits<double>::quiet_NaN()), "-:--");
}

TEST(Progress, FillsTheLine) {
  EXPECT_EQ(format_progress({"training", 5, 20, 10, 30, "loss 0.5"}, 70),
            "training [=====>                ]  25%  loss 0.5  0:10 gone, 0:30 left");
  EXPECT_EQ(format_progress({"training", 20, 20, 61, 0, ""}, 40), "training [===============] 100%  in 1:01");
}

TEST(Progress, NeverExceedsTheColumnsAndKeepsTheTimesWhileTheyFit) {
  const ProgressState state{"training", 199, 200, 4000, 20, "global, loss 0.1234, 61.3 images/s"};
  for (int columns = 0; columns <= 160; ++columns) {
    const std::string line = format_progress(state, columns);
    EXPECT_LE(line.size(), static_cast<size_t>(columns));
    EXPECT_EQ(line.find("1:06:40 gone, 0:20 left") != std::string::npos, columns >= 49) << line;
  }
  EXPECT_NE(format_progress(state, 160).find(" 99%  global, loss 0.1234, 61.3 images/s  "),
            std::string::npos);
}

std::vector<std::string> lines_of(const std::string& text) {
  std::istringstream in(text);
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

TEST(Progress, WritesPlainLinesWhereThereIsNoTerminal) {
  std::ostringstream out;
  {
    Progress progress("drawing", 1000, out);
    for (int i = 1; i <= 1000; ++i) progress.update(i, "fine");
    progress.finish();
    progress.finish();
    progress.update(7);
  }
  EXPECT_EQ(out.str().find_first_of("\r\x1b"), std::string::npos);
  const auto lines = lines_of(out.str());
  EXPECT_EQ(lines.size(), 11u);  // the first step and every tenth of the way
  EXPECT_NE(lines.back().find("100%  fine"), std::string::npos);
}

TEST(Progress, FinishShowsTheLastUpdate) {
  std::ostringstream out;
  Progress progress("drawing", 1000, out);
  progress.update(1, "first");
  progress.update(2, "second");
  EXPECT_EQ(lines_of(out.str()).size(), 1u);
  progress.finish();
  ASSERT_EQ(lines_of(out.str()).size(), 2u);
  EXPECT_NE(out.str().find("second"), std::string::npos);
}

TEST(Progress, SpeedIsMeasuredFromTheFirstUpdate) {
  std::ostringstream out;
  Progress progress("training", 100, out);
  progress.update(90);  // a resumed job: nothing is known about its speed yet
  EXPECT_NE(out.str().find("-:-- left"), std::string::npos);
}

}  // namespace
}  // namespace scrawl
