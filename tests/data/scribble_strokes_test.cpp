#include "data/scribble_strokes.h"

#include <gtest/gtest.h>

#include "tests/data/annulus.h"

namespace scrawl {
namespace {

TEST(ScribbleStrokes, StayInsideAndReachAcrossTheComponent) {
  for (const float inner : {0.0f, 14.0f}) {
    const Mask mask = annulus(64, inner, 24.0f);
    for (uint64_t i = 0; i < 40; ++i) {
      Random random(1, 2, i);
      const Polyline stroke = stroke_within(mask, {}, random);
      LabelMap drawn{64, 64, std::vector<uint8_t>(64 * 64, kUnlabelled)};
      draw_polyline(drawn, stroke, 1);
      for (size_t p = 0; p < drawn.labels.size(); ++p) {
        ASSERT_TRUE(mask.inside[p] || drawn.labels[p] != 1) << "stroke " << i << ", pixel " << p;
      }
      EXPECT_GT(length(stroke.back() - stroke.front()), 12.0f);
    }
  }
}

TEST(ScribbleStrokes, KeepOffTheOutlineAsFarAsAsked) {
  const Mask disc = annulus(80, 0.0f, 36.0f);
  const std::vector<float> depth = distance_to_outside(disc);
  for (const float erosion : {2.0f, 7.0f, 15.0f}) {
    for (uint64_t i = 0; i < 20; ++i) {
      Random random(3, 4, i);
      for (const Point p : stroke_within(disc, {.erosion = erosion}, random)) {
        ASSERT_GT(depth[std::lround(p.y) * 80 + std::lround(p.x)], erosion) << "stroke " << i;
      }
    }
  }
}

TEST(ScribbleStrokes, LieInTheImageWhereTheirWindowLies) {
  Mask mask = annulus(40, 0.0f, 15.0f);
  Random random(1, 2), same(1, 2);
  const Polyline stroke = stroke_within(mask, {}, random);
  mask.left = 100;
  mask.top = 30;
  const Polyline moved = stroke_within(mask, {}, same);
  ASSERT_EQ(moved.size(), stroke.size());
  for (size_t i = 0; i < stroke.size(); ++i) {
    EXPECT_EQ(moved[i].x, stroke[i].x + 100);
    EXPECT_EQ(moved[i].y, stroke[i].y + 30);
  }
}

TEST(ScribbleStrokes, FollowThinThingsAlong) {
  // A ring two pixels wide with one thick spot, which must not keep the stroke to itself.
  Mask ring = annulus(80, 34.0f, 37.0f);
  for (int i = 0; i < 80 * 80; ++i) {
    if (std::hypot(static_cast<float>(i % 80 - 5), static_cast<float>(i / 80 - 40)) < 5.0f)
      ring.inside[i] = 1;
  }
  for (uint64_t i = 0; i < 20; ++i) {
    Random random(5, 6, i);
    EXPECT_GT(stroke_within(ring, {}, random).size(), 60u) << "stroke " << i;
  }
}

TEST(ScribbleStrokes, ErosionGrowsWithTheShareOfTheImage) {
  EXPECT_EQ(erosion_for(0.0), 2.0f);
  EXPECT_EQ(erosion_for(0.003), 2.0f);
  EXPECT_FLOAT_EQ(erosion_for(0.0765), 11.0f);
  EXPECT_EQ(erosion_for(0.15), 20.0f);
  EXPECT_EQ(erosion_for(1.0), 20.0f);
  EXPECT_FLOAT_EQ(erosion_for(0.0765, 6.0f), 4.0f);
}

TEST(ScribbleStrokes, AreShortenedAboutTheirMiddle) {
  const Polyline line{{0, 0}, {1, 0}, {7, 0}, {8, 0}, {8, 2}};  // 10 long
  const auto expect_ends = [&](float share, Point first, Point last) {
    const Polyline rest = shortened(line, share);
    EXPECT_LT(length(rest.front() - first), 1e-5f) << share;
    EXPECT_LT(length(rest.back() - last), 1e-5f) << share;
  };
  expect_ends(1.0f, {0, 0}, {8, 2});
  expect_ends(0.8f, {1, 0}, {8, 1});
  expect_ends(0.5f, {2.5f, 0}, {7.5f, 0});
  EXPECT_EQ(shortened(line, 0.5f).size(), 3u);
  ASSERT_EQ(shortened(line, 0.0f).size(), 1u);
  EXPECT_EQ(shortened(line, 0.0f)[0].x, 5.0f);
  EXPECT_EQ(shortened({{3, 4}}, 0.5f).size(), 1u);
  EXPECT_TRUE(shortened({}, 0.5f).empty());
}

TEST(ScribbleStrokes, ExistForEveryComponentHoweverThin) {
  for (const int height : {1, 2, 3}) {
    Random random(1, 2, height);
    const Mask bar{height, 9, std::vector<uint8_t>(height * 9, 1)};
    const Polyline stroke = stroke_within(bar, {}, random);
    EXPECT_FALSE(stroke.empty());
    for (const Point p : stroke) {
      EXPECT_TRUE(p.x > -0.5f && p.x < 8.5f && p.y > -0.5f && p.y < height - 0.5f);
    }
  }
  Random random(1, 2);
  EXPECT_TRUE(stroke_within({4, 4, std::vector<uint8_t>(16, 0)}, {}, random).empty());
}

TEST(ScribbleStrokes, AreThreePixelsWide) {
  LabelMap map{7, 20, std::vector<uint8_t>(7 * 20, kUnlabelled)};
  draw_polyline(map, {{-5, 3}, {30, 3}}, 4);
  for (int y = 0; y < 7; ++y) EXPECT_EQ(map.labels[y * 20 + 10], y >= 2 && y <= 4 ? 4 : kUnlabelled) << y;
}

}  // namespace
}  // namespace scrawl
