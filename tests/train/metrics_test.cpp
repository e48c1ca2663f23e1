#include "train/metrics.h"

#include <gtest/gtest.h>

#include "train/schedule.h"

namespace scrawl {
namespace {

TEST(Scores, FollowTheDefinitions) {
  // Truth in rows: class 0 has 8 pixels, 6 right; class 1 has 4, 3 right; class 2 is neither there nor
  // predicted.
  const Scores scores = scores_of({6, 2, 0, 1, 3, 0, 0, 0, 0}, 3);
  EXPECT_DOUBLE_EQ(*scores.iou[0], 6.0 / 9.0);
  EXPECT_DOUBLE_EQ(*scores.iou[1], 3.0 / 6.0);
  EXPECT_FALSE(scores.iou[2].has_value());
  EXPECT_DOUBLE_EQ(scores.miou, (6.0 / 9.0 + 0.5) / 2);
  EXPECT_DOUBLE_EQ(scores.pixel_accuracy, 9.0 / 12.0);
}

TEST(Scores, AClassThatIsOnlyPredictedCountsAsZero) {
  const Scores scores = scores_of({3, 1, 0, 0}, 2);
  EXPECT_DOUBLE_EQ(*scores.iou[1], 0.0);
  EXPECT_DOUBLE_EQ(scores.miou, 0.375);
}

TEST(Scores, NothingLabelledGivesNoIou) {
  const Scores scores = scores_of({0, 0, 0, 0}, 2);
  EXPECT_DOUBLE_EQ(scores.miou, 0.0);
  EXPECT_FALSE(scores.iou[0].has_value());
}

TEST(Schedule, LinearFallsEvenlyAndNeverReachesZero) {
  EXPECT_FLOAT_EQ(lr_factor(LrPolicy::kLinear, 0, 200), 1.0f);
  EXPECT_FLOAT_EQ(lr_factor(LrPolicy::kLinear, 100, 200), 1.0f - 100.0f / 201.0f);
  EXPECT_FLOAT_EQ(lr_factor(LrPolicy::kLinear, 199, 200), 2.0f / 201.0f);
}

TEST(Schedule, StepFallsToATenthAfterEachThird) {
  EXPECT_FLOAT_EQ(lr_factor(LrPolicy::kStep, 19, 60), 1.0f);
  EXPECT_FLOAT_EQ(lr_factor(LrPolicy::kStep, 20, 60), 0.1f);
  EXPECT_FLOAT_EQ(lr_factor(LrPolicy::kStep, 40, 60), 0.01f);
  EXPECT_FLOAT_EQ(lr_factor(LrPolicy::kStep, 0, 1), 1.0f);
}

}  // namespace
}  // namespace scrawl
