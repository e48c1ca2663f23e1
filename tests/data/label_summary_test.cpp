#include "data/label_summary.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace scrawl {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

const std::vector<std::string> kNames{"background", "cat", "dog", "fox"};

LabelSummary summary_of(const std::vector<uint8_t>& labels, const std::vector<uint8_t>& tags = {}) {
  return summarise({1, static_cast<int>(labels.size()), labels}, tags);
}

TEST(LabelSummary, CountsLabelledPixelsAndNotesClasses) {
  const LabelSummary summary = summary_of({0, 0, 2, 255, 255}, {1, 1, 0, 0});
  EXPECT_TRUE(summary.read());
  EXPECT_EQ(summary.pixels, 5);
  EXPECT_EQ(summary.labelled, 3);
  EXPECT_EQ(summary.drawn.to_ulong(), 0b101u);
  EXPECT_EQ(summary.tagged.to_ulong(), 0b11u);
  EXPECT_TRUE(summary_of({255}).drawn.none());
  EXPECT_FALSE(LabelSummary().read());
}

TEST(LabelWarnings, AreNoneForSoundLabels) {
  const std::vector<LabelSummary> labels{summary_of({0, 1, 2, 255}, {1, 1, 1, 0}),
                                         summary_of({0, 3}, {1, 0, 0, 1})};
  EXPECT_THAT(label_warnings(labels, std::vector<std::string>{"a", "b"}, kNames, "training"), IsEmpty());
}

TEST(LabelWarnings, NameImagesWithoutLabelsAndClassesNeverDrawn) {
  const std::vector<LabelSummary> labels{summary_of({255, 255}), summary_of({0, 2}), summary_of({255})};
  const std::vector<std::string> ids{"a", "b", "c"};
  EXPECT_THAT(
      label_warnings(labels, ids, kNames, "training"),
      ElementsAre("2 training images have no labelled pixel: a, c", "no training label map shows cat, fox"));
}

TEST(LabelWarnings, PassOverWhatHasNotBeenRead) {
  const std::vector<LabelSummary> labels{summary_of({0, 1, 2}), LabelSummary()};
  EXPECT_THAT(label_warnings(labels, std::vector<std::string>{"a", "b"}, kNames, "training"),
              ElementsAre("no training label map read so far shows fox"));
}

TEST(LabelWarnings, NameTagsThatDisagreeButNotTheBackground) {
  const std::vector<LabelSummary> labels{summary_of({1, 2, 3}, {1, 0, 0, 1}),
                                         summary_of({0, 1}, {1, 1, 1, 0}),
                                         summary_of({0, 3})};  // the last has no tags
  EXPECT_THAT(label_warnings(labels, std::vector<std::string>{"a", "b", "c"}, kNames, "validation"),
              ElementsAre("1 validation image has labels of classes that the tags leave out: a (cat, dog)",
                          "1 validation image has tags of classes without a labelled pixel: b (dog)"));
}

TEST(ListWarnings, NameWhatIsListedTwice) {
  using Ids = std::vector<std::string>;
  EXPECT_THAT(list_warnings(Ids{"a", "b"}, Ids{"c"}), IsEmpty());
  EXPECT_THAT(list_warnings(Ids{"a", "b", "a", "a"}, Ids{"c", "c"}),
              ElementsAre("the training list names 2 of its images more than once",
                          "the validation list names 1 of its images more than once"));
  EXPECT_THAT(
      list_warnings(Ids{"e", "d", "c", "b", "a"}, Ids{"a", "b", "c", "d", "x"}),
      ElementsAre("4 validation images are in the training list too, so that scores on them mean little: "
                  "a, b, c … and 1 more"));
}

TEST(Scribbles, AreLabelsOfLessThanHalfOfThePixels) {
  EXPECT_TRUE(looks_like_scribbles(0.03));
  EXPECT_FALSE(looks_like_scribbles(0.95));
  EXPECT_NE(scribbles_to_score_on(0.031, "folder").find("3.1 % of the pixels in folder"), std::string::npos);
}

}  // namespace
}  // namespace scrawl
