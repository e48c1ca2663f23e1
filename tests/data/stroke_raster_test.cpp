#include "data/stroke_raster.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace scrawl {
namespace {

using Picture = std::vector<std::string>;

LabelMap blank(int height, int width) {
  return {height, width, std::vector<uint8_t>(size_t{1} * height * width, kUnlabelled)};
}

/// A row a line: '.' is unlabelled, '#' is 1, else the digit.
Picture picture_of(const LabelMap& map) {
  Picture rows(map.height);
  for (size_t i = 0; i < map.labels.size(); ++i) {
    const uint8_t label = map.labels[i];
    rows[i / map.width] += label == kUnlabelled ? '.' : label == 1 ? '#' : static_cast<char>('0' + label);
  }
  return rows;
}

Picture stroke(int height, int width, const Polyline& points, int stroke_width = 3) {
  LabelMap map = blank(height, width);
  draw_stroke(map, points, 1, stroke_width);
  return picture_of(map);
}

// What MATLAB's insertShape sets for lines of width 3; the rule was checked against masks that it drew.

TEST(StrokeRaster, StraightStrokesHaveFlatEnds) {
  EXPECT_EQ(stroke(5, 9, {{2, 2}, {6, 2}}), (Picture{".........",  //
                                                     "..#####..",  //
                                                     "..#####..",  //
                                                     "..#####..",  //
                                                     "........."}));
  EXPECT_EQ(stroke(5, 5, {{2, 1}, {2, 3}}), (Picture{".....",  //
                                                     ".###.",  //
                                                     ".###.",  //
                                                     ".###.",  //
                                                     "....."}));
}

TEST(StrokeRaster, SlantedStrokesSetEveryPixelThatTheyTouch) {
  EXPECT_EQ(stroke(8, 15, {{2, 2}, {12, 5}}), (Picture{"...............",  //
                                                       "..##...........",  //
                                                       "..######.......",  //
                                                       "..#########....",  //
                                                       "....#########..",  //
                                                       ".......######..",  //
                                                       "..........###..",  //
                                                       "..............."}));
  EXPECT_EQ(stroke(10, 10, {{2, 2}, {7, 7}}), (Picture{"..........",  //
                                                       "...#......",  //
                                                       "..###.....",  //
                                                       ".#####....",  //
                                                       "..#####...",  //
                                                       "...#####..",  //
                                                       "....#####.",  //
                                                       ".....####.",  //
                                                       "......##..",  //
                                                       ".........."}));
  EXPECT_EQ(stroke(11, 8, {{2, 9}, {5, 1}}), (Picture{"........",  //
                                                      "....###.",  //
                                                      "....###.",  //
                                                      "...###..",  //
                                                      "...###..",  //
                                                      "..####..",  //
                                                      "..###...",  //
                                                      "..###...",  //
                                                      ".####...",  //
                                                      ".###....",  //
                                                      "........"}));
}

TEST(StrokeRaster, BetweenTwoStepsTheOneNearerToTheLeftEndIsTaken) {
  EXPECT_EQ(stroke(6, 11, {{1, 2}, {9, 3}}), (Picture{"...........",  //
                                                      ".#####.....",  //
                                                      ".#########.",  //
                                                      ".#########.",  //
                                                      ".....#####.",  //
                                                      "..........."}));
  EXPECT_EQ(stroke(6, 11, {{9, 2}, {1, 3}}), (Picture{"...........",  //
                                                      "......####.",  //
                                                      ".#########.",  //
                                                      ".#########.",  //
                                                      ".######....",  //
                                                      "..........."}));
}

TEST(StrokeRaster, SegmentsOverlapWithoutJoints) {
  EXPECT_EQ(stroke(11, 16, {{3, 2}, {5, 7}, {13, 8}}), (Picture{"................",  //
                                                                "................",  //
                                                                "..###...........",  //
                                                                "..####..........",  //
                                                                "...###..........",  //
                                                                "...###..........",  //
                                                                "....######......",  //
                                                                "....##########..",  //
                                                                ".....#########..",  //
                                                                ".........#####..",  //
                                                                "................"}));
}

TEST(StrokeRaster, AStepToTheSamePointIsVertical) {
  EXPECT_EQ(stroke(5, 13, {{2, 2}, {9, 2}, {9, 2}}), (Picture{".............",  //
                                                              "..########...",  //
                                                              "..#########..",  //
                                                              "..########...",  //
                                                              "............."}));
}

TEST(StrokeRaster, PointsAreSquareDots) {
  const Picture dot{"....", ".###", ".###", ".###"};
  EXPECT_EQ(stroke(4, 4, {{2, 2}}), dot);
  EXPECT_EQ(stroke(4, 4, {{2, 2}, {2.4f, 1.6f}}), dot);
  EXPECT_EQ(stroke(4, 4, {{2, 2}}, 1), (Picture{"....", "....", "..#.", "...."}));
  EXPECT_EQ(stroke(4, 4, {}), (Picture{"....", "....", "....", "...."}));
}

TEST(StrokeRaster, WidthOneSetsWhatTheLineTouches) {
  EXPECT_EQ(stroke(3, 7, {{0, 0}, {6, 2}}, 1), (Picture{"##.....", ".####..", "....###"}));
  EXPECT_EQ(stroke(3, 1, {{0, 0}, {0, 1}}, 1), (Picture{"#", "#", "."}));
}

TEST(StrokeRaster, FarPointsComeToTheBorder) {
  const float far = std::numeric_limits<float>::max();
  EXPECT_EQ(stroke(4, 5, {{-far, 2}, {far, 2}}), (Picture{".....", "#####", "#####", "#####"}));
  EXPECT_EQ(stroke(3, 3, {{-7, -7}}), (Picture{"##.", "##.", "..."}));
}

TEST(StrokeRaster, PolygonsHoldThePixelsWhoseCentresAreInside) {
  LabelMap map = blank(4, 6);
  fill_polygon(map, Polyline{{0.5f, 0.5f}, {4.5f, 0.5f}, {4.5f, 2.5f}, {0.5f, 2.5f}}, 2);
  EXPECT_EQ(picture_of(map), (Picture{"......", ".2222.", ".2222.", "......"}));
  map = blank(4, 6);
  fill_polygon(map, Polyline{{-100, -100}, {100, -100}, {100, 100}, {-100, 100}}, 1);
  EXPECT_EQ(picture_of(map), Picture(4, "######"));
  map = blank(5, 5);
  fill_polygon(map, Polyline{{-0.5f, -0.5f}, {4.4f, -0.5f}, {-0.5f, 4.4f}}, 1);
  EXPECT_EQ(picture_of(map), (Picture{"####.", "###..", "##...", "#....", "....."}));
}

TEST(StrokeRaster, PolygonsThatCrossThemselvesLeaveOutWhatTheyEncloseTwice) {
  LabelMap map = blank(1, 9);
  fill_polygon(
      map, Polyline{{0, -1}, {8.5f, -1}, {8.5f, 1}, {2.5f, 1}, {2.5f, -1}, {5.5f, -1}, {5.5f, 1}, {0, 1}}, 1);
  EXPECT_EQ(picture_of(map), Picture{"###...###"});
}

TEST(StrokeRaster, EllipsesHoldThePixelsWhoseCentresAreInside) {
  LabelMap map = blank(5, 7);
  fill_ellipse(map, {3, 2}, {5.6f, 2}, {3, 3.2f}, 1);
  EXPECT_EQ(picture_of(map), (Picture{".......", "..###..", ".#####.", "..###..", "......."}));
  map = blank(5, 5);
  fill_ellipse(map, {2, 2}, {4.2f, 4.2f}, {1.7f, 2.3f}, 1);  // slim, along the diagonal
  EXPECT_EQ(picture_of(map), (Picture{"#....", ".#...", "..#..", "...#.", "....#"}));
  map = blank(4, 6);
  fill_ellipse(map, {3, 2}, {1e6f, 2}, {3, 1e6f}, 1);
  EXPECT_EQ(picture_of(map), Picture(4, "######"));
  map = blank(4, 6);
  fill_ellipse(map, {3, 2}, {5, 2}, {3, 2}, 1);
  EXPECT_EQ(picture_of(map), Picture(4, "......")) << "an ellipse without width";
}

TEST(StrokeRaster, EllipsesAreThePolygonsOfTheirOutlines) {
  const Point middle{20.3f, 17.8f}, a{12.5f, 6.25f}, b{-4, 8};
  Polyline outline;
  for (int i = 0; i < 1000; ++i) {
    const float angle = 0.006283185f * static_cast<float>(i);
    outline.push_back(middle + std::cos(angle) * a + std::sin(angle) * b);
  }
  LabelMap polygon = blank(40, 40), ellipse = blank(40, 40);
  fill_polygon(polygon, outline, 1);
  fill_ellipse(ellipse, middle, middle + a, middle + b, 1);
  int different = 0;
  for (size_t i = 0; i < polygon.labels.size(); ++i) different += polygon.labels[i] != ellipse.labels[i];
  EXPECT_LE(different, 2);
}

}  // namespace
}  // namespace scrawl
