#include "data/augmentation.h"

#include <gtest/gtest.h>

#include <set>

namespace scrawl {
namespace {

TEST(Augmentation, PadsTheSmallerHalfBefore) {
  const auto corner = [](int height, int width) {
    const auto [top, left] = center_corner(height, width, 96, 96);
    return std::pair{top, left};
  };
  EXPECT_EQ(corner(61, 83), std::pair(-17, -6));  // of 35 rows and 13 columns of padding
  EXPECT_EQ(corner(96, 97), std::pair(0, 0));
  EXPECT_EQ(corner(101, 120), std::pair(2, 12));
}

TEST(Augmentation, PlansStayInRangeAndCoverIt) {
  int rotated = 0, blurred = 0, flipped = 0, padded = 0;
  float least = 9, most = 0;
  std::set<int> tops, lefts;  // where there is a choice
  constexpr int kDraws = 2000;
  for (int i = 0; i < kDraws; ++i) {
    Random random(7, 0, i);
    const AugmentationPlan plan = draw_augmentation(random, 100, 150, 96, 96);
    const int height = scaled_size(100, plan.scale), width = scaled_size(150, plan.scale);
    least = std::min(least, plan.scale);
    most = std::max(most, plan.scale);
    if (height > 150) tops.insert(plan.corner.top);
    if (width > 200) lefts.insert(plan.corner.left);
    rotated += plan.degrees.has_value();
    blurred += plan.blur;
    flipped += plan.flip;
    EXPECT_LE(std::abs(plan.degrees.value_or(0)), 10);
    padded += height < 96;
    EXPECT_EQ(plan.corner.top < 0, height < 96 && (96 - height) / 2 > 0);
    EXPECT_GE(plan.corner.top, std::min(0, -(96 - height) / 2));
    EXPECT_LE(plan.corner.top, std::max(0, height - 96));
    EXPECT_LE(plan.corner.left, std::max(0, width - 96));
    EXPECT_GE(plan.corner.left, std::min(0, (width - 96) / 2));
  }
  EXPECT_TRUE(tops.contains(0));
  EXPECT_GT(tops.size(), 80);    // of 105
  EXPECT_GT(lefts.size(), 160);  // of 205
  EXPECT_LT(least, 0.51f);
  EXPECT_GT(most, 1.99f);
  EXPECT_LE(most, 2.0f);
  for (const int count : {rotated, blurred, flipped}) EXPECT_NEAR(count, kDraws / 2, 100);
  EXPECT_NEAR(padded, kDraws * (0.96 - 0.5) / 1.5, 100);
}

TEST(Augmentation, RotatesAboutTheCentreOfTheScaledImage) {
  const CropPlan plan = crop_plan({.scale = 2.0f, .degrees = 90.0f}, nullptr, 10, 20);
  EXPECT_EQ(plan.scaled_height, 20);
  EXPECT_EQ(plan.scaled_width, 40);
  const auto centre = plan.before_rotation(20, 10, 0), right = plan.before_rotation(25, 10, 0);
  EXPECT_EQ(std::pair(centre.x, centre.y), std::pair(20, 10));
  EXPECT_EQ(std::pair(right.x, right.y), std::pair(20, 15));  // counter-clockwise: what was below lies right
}

}  // namespace
}  // namespace scrawl
