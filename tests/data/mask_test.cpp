#include "data/mask.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/data/annulus.h"

namespace scrawl {
namespace {

TEST(Mask, DistanceIsEuclidean) {
  const Mask mask = annulus(33, 5.0f, 13.0f);
  const std::vector<float> distance = distance_to_outside(mask);
  for (int i = 0; i < 33 * 33; ++i) {
    float nearest = 1e9f;
    for (int y = -1; y <= 33; ++y) {
      for (int x = -1; x <= 33; ++x) {
        const bool within = x >= 0 && x < 33 && y >= 0 && y < 33 && mask.inside[y * 33 + x];
        if (!within)
          nearest =
              std::min(nearest, std::hypot(static_cast<float>(i % 33 - x), static_cast<float>(i / 33 - y)));
      }
    }
    ASSERT_NEAR(distance[i], nearest, 1e-4f) << "pixel " << i;
  }
}

TEST(Mask, ComponentsHangTogetherOverEdgesOnlyEachInItsWindow) {
  const LabelMap map{3,
                     4,
                     {2, 2, 0, 2,  //
                      0, 0, 2, 0,  //
                      2, 0, 2, 2}};
  const std::vector<Mask> pieces = components(map, 2, 2);
  ASSERT_EQ(pieces.size(), 2u);
  EXPECT_EQ(pieces[0].inside, (std::vector<uint8_t>{1, 1}));
  EXPECT_EQ(pieces[0].area(), 2);
  EXPECT_EQ(pieces[1].inside, (std::vector<uint8_t>{1, 0,  //
                                                    1, 1}));
  EXPECT_EQ(pieces[1].left, 2);
  EXPECT_EQ(pieces[1].top, 1);
  EXPECT_EQ(components(map, 2, 1).size(), 4u);
  for (int i = 0; i < 12; ++i) {
    const int x = i % 4, y = i / 4;
    EXPECT_EQ(pieces[1].contains(x, y), (x == 2 && y > 0) || (x == 3 && y == 2)) << x << " " << y;
  }
  EXPECT_FALSE(pieces[1].contains(-1, 2) || pieces[1].contains(4, 2) || pieces[1].contains(2, 3));
}

TEST(Mask, KeepsItsLargestPiece) {
  Mask mask{2,
            5,
            {1, 0, 1, 1, 0,  //
             1, 0, 0, 1, 1}};
  mask.left = 7;
  const Mask largest = largest_piece(mask);
  EXPECT_EQ(largest.inside, (std::vector<uint8_t>{0, 0, 1, 1, 0,  //
                                                  0, 0, 0, 1, 1}));
  EXPECT_EQ(largest.left, 7);
  EXPECT_EQ(largest_piece({1, 2, {0, 0}}).inside, (std::vector<uint8_t>{0, 0}));
}

TEST(Mask, SearchesFindTheShortestWay) {
  const Mask mask{3,
                  3,
                  {1, 1, 1,  //
                   1, 0, 1,  //
                   1, 0, 1}};
  const PixelSearch search = search_from(6, mask, false);
  EXPECT_EQ(search.order.size(), 7u);
  EXPECT_EQ(search.order.back(), 8);
  EXPECT_EQ(search.path_from(8), (std::vector<int>{8, 5, 2, 1, 0, 3, 6}));
  EXPECT_EQ(search_from(6, mask, true).path_from(8), (std::vector<int>{8, 5, 1, 3, 6}));
}

}  // namespace
}  // namespace scrawl
