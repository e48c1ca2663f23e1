#include "data/mask_scribbles.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "data/image.h"
#include "data/palette.h"
#include "engine/files.h"
#include "tests/data/temporary_directory.h"

namespace scrawl {
namespace {

namespace fs = std::filesystem;

constexpr int kSize = 96, kClasses = 5;

/// Background with a disc of class 1, a square of class 2 below it, a bar of class 3 two pixels high, a
/// slanting one of class 4 as thin, a speck of class 1 and a strip of void; `shift` moves the disc.
LabelMap scene(int shift = 0) {
  LabelMap map{kSize, kSize, std::vector<uint8_t>(kSize * kSize)};
  for (int y = 0; y < kSize; ++y) {
    for (int x = 0; x < kSize; ++x) {
      uint8_t& label = map.labels[y * kSize + x];
      if ((x - 30 - shift) * (x - 30 - shift) + (y - 30) * (y - 30) < 400) label = 1;
      if (x >= 50 && x < 80 && y >= 50 && y < 80) label = 2;
      if (y >= 88 && y < 90 && x >= 5 && x < 75) label = 3;
      if (x - y >= 55 && x - y <= 57 && y >= 2) label = 4;
      if (y < 4 && x < 4) label = 1;
      if (x >= 92) label = kUnlabelled;
    }
  }
  return map;
}

struct Drawn {
  LabelMap scribble;
  ScribbleCounts counts{};
};

Drawn drawn(const ScribbleStyle& style, const LabelMap& mask = scene()) {
  Drawn result;
  result.scribble = scribble_mask(mask, "scene", style, result.counts);
  return result;
}

bool subset(const LabelMap& part, const LabelMap& whole) {
  for (size_t i = 0; i < part.labels.size(); ++i) {
    if (part.labels[i] != kUnlabelled && part.labels[i] != whole.labels[i]) return false;
  }
  return true;
}

int64_t labelled(const LabelMap& map) {
  return std::ranges::count_if(map.labels, [](uint8_t label) { return label != kUnlabelled; });
}

TEST(MaskScribbles, MarkEveryLargeComponentOfEveryClassAndNothingElse) {
  const LabelMap mask = scene();
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const auto [scribble, counts] = drawn({.seed = seed});
    EXPECT_TRUE(subset(scribble, mask)) << "seed " << seed;
    for (int label = 0; label < kClasses; ++label) {
      const ScribbleCount& c = counts[label];
      EXPECT_EQ(c.images, 1) << label;
      EXPECT_EQ(c.marked, 1) << label;
      EXPECT_EQ(c.strokes, 1) << label;
      EXPECT_EQ(c.too_small, label == 1) << label;
      EXPECT_EQ(c.components, c.strokes + c.too_small) << label;
      EXPECT_EQ(c.pixels, std::ranges::count(scribble.labels, label)) << label;
      EXPECT_EQ(c.on_class, c.pixels) << label;
      EXPECT_GT(c.pixels, 20) << label << ", seed " << seed;  // more than a point
    }
    EXPECT_LT(labelled(scribble), kSize * kSize / 8);
    EXPECT_EQ(counts[kClasses].images, 0);
  }
}

TEST(MaskScribbles, DependOnSeedAndName) {
  const LabelMap mask = scene();
  ScribbleCounts counts{};
  const LabelMap one = scribble_mask(mask, "a", {.seed = 1}, counts);
  EXPECT_EQ(one.labels, scribble_mask(mask, "a", {.seed = 1}, counts).labels);
  EXPECT_NE(one.labels, scribble_mask(mask, "a", {.seed = 2}, counts).labels);
  EXPECT_NE(one.labels, scribble_mask(mask, "b", {.seed = 1}, counts).labels);
}

TEST(MaskScribbles, SmallComponentsAreSkippedUnlessAskedFor) {
  EXPECT_EQ(drawn({.minimum_area = 17}).counts[1].too_small, 1);
  EXPECT_EQ(drawn({.minimum_area = 16}).counts[1].strokes, 2);
  EXPECT_EQ(labelled(drawn({.minimum_area = kSize * kSize}).scribble), 0);
}

TEST(MaskScribbles, ShorterStrokesLieWithinLongerOnes) {
  LabelMap longer = drawn({}).scribble;
  for (const float length : {0.7f, 0.3f, 0.0f}) {
    LabelMap shorter = drawn({.length = length}).scribble;
    EXPECT_TRUE(subset(shorter, longer)) << length;
    EXPECT_LT(labelled(shorter), labelled(longer)) << length;
    longer = std::move(shorter);
  }
  // A point each: what a pen three pixels wide leaves.
  for (int label = 0; label < kClasses; ++label) {
    const auto pixels = std::ranges::count(longer.labels, label);
    EXPECT_TRUE(pixels >= 4 && pixels <= 9) << label << ": " << pixels;
  }
}

TEST(MaskScribbles, WhatIsLeftOfMoreDroppedStrokesIsLeftOfFewer) {
  int64_t kept = 0, strokes = 0;
  for (uint64_t seed = 0; seed < 50; ++seed) {
    const Drawn all = drawn({.seed = seed}), some = drawn({.seed = seed, .dropped = 0.3f}),
                few = drawn({.seed = seed, .dropped = 0.8f});
    EXPECT_TRUE(subset(some.scribble, all.scribble)) << seed;
    EXPECT_TRUE(subset(few.scribble, some.scribble)) << seed;
    for (int label = 0; label < kClasses; ++label) {
      EXPECT_EQ(some.counts[label].strokes + some.counts[label].dropped, 1);
      kept += some.counts[label].strokes;
      ++strokes;
    }
  }
  // Each is dropped with probability 0.3: within four standard deviations of the mean.
  const auto all = static_cast<double>(strokes);
  EXPECT_NEAR(static_cast<double>(kept), 0.7 * all, 4 * std::sqrt(all * 0.3 * 0.7));
  EXPECT_EQ(labelled(drawn({.dropped = 1.0f}).scribble), 0);
}

TEST(MaskScribbles, AWiderPenKeepsInsideToo) {
  const Drawn wide = drawn({.width = 9.0f});
  EXPECT_TRUE(subset(wide.scribble, scene()));
  EXPECT_GT(wide.counts[1].pixels, 2 * drawn({}).counts[1].pixels);
}

class MaskScribbleSet : public testing::Test {
 protected:
  MaskScribbleSet() {
    for (int i = 0; i < 6; ++i) write_label_map(masks() / fmt::format("m{}.png", i), scene(i), voc_palette());
  }
  fs::path masks() const { return directory_.path / "masks"; }
  fs::path out(const std::string& name) const { return directory_.path / name; }

  static std::map<std::string, std::string> files(const fs::path& folder) {
    std::map<std::string, std::string> bytes;
    for (const auto& entry : fs::directory_iterator(folder))
      bytes[entry.path().filename()] = read_file(entry);
    return bytes;
  }

  /// Nothing but the masks is there: no folder under its own name, none under a temporary one.
  void expect_nothing_written() const {
    for (const auto& entry : fs::directory_iterator(directory_.path))
      EXPECT_EQ(entry.path().filename(), "masks") << entry.path();
  }

 private:
  TemporaryDirectory directory_;
};

TEST_F(MaskScribbleSet, IsTheSameForAnyNumberOfThreads) {
  int calls = 0;
  const ScribbleSet set =
      scribble_masks({.masks = masks(), .out = out("one"), .threads = 1}, [&](int done, int total) {
        EXPECT_EQ(done, ++calls);
        EXPECT_EQ(total, 6);
      });
  EXPECT_EQ(calls, 6);
  EXPECT_EQ(set.ids, (std::vector<std::string>{"m0", "m1", "m2", "m3", "m4", "m5"}));
  EXPECT_TRUE(set.empty.empty());
  EXPECT_EQ(set.counts[2].strokes, 6);
  fs::create_directories(out("four"));  // an empty folder may be there
  scribble_masks({.masks = masks(), .out = out("four") / "", .threads = 4});
  EXPECT_EQ(files(out("one")), files(out("four")));
  EXPECT_EQ(files(out("one")).size(), 6u);

  fs::remove(masks() / "m1.png");  // the others' strokes do not depend on it
  scribble_masks({.masks = masks(), .out = out("fewer")});
  auto expected = files(out("one"));
  expected.erase("m1.png");
  EXPECT_EQ(files(out("fewer")), expected);
}

TEST_F(MaskScribbleSet, ReadsAnotherIgnoreLabelAndNamesImagesLeftEmpty) {
  LabelMap mask = scene();
  std::ranges::replace(mask.labels, kUnlabelled, uint8_t{7});
  for (int i = 0; i < 6; ++i) write_label_map(masks() / fmt::format("m{}.png", i), mask, voc_palette());
  const ScribbleSet set = scribble_masks({.masks = masks(), .out = out("a"), .ignore_label = 7});
  EXPECT_EQ(set.counts[3].images, 6);
  EXPECT_EQ(set.counts[7].images, 0);
  EXPECT_EQ(scribble_masks({.masks = masks(), .out = out("b"), .style = {.dropped = 1.0f}}).empty, set.ids);
}

TEST_F(MaskScribbleSet, RefusesWhatIsNoMaskAndLeavesNothingBehind) {
  const auto refused = [&](std::initializer_list<std::string> words) {
    expect_input_error([&] { scribble_masks({.masks = masks(), .out = out("out"), .classes = 5}); }, words);
    expect_nothing_written();
  };
  write_label_map(masks() / "m3.png", {2, 2, {0, 1, 5, 0}}, voc_palette());
  refused({"m3.png", "label 5", "5 classes"});
  write_png(masks() / "m3.png", {2, 2, std::vector<uint8_t>(12)});
  refused({"m3.png", "RGB"});
  write_bytes(masks() / "m3.png", "no picture");
  refused({"m3.png", "cannot be read"});
  for (int i = 0; i < 6; ++i) fs::remove(masks() / fmt::format("m{}.png", i));
  refused({"masks", "holds no .png files"});
  fs::remove(masks());
  refused({"masks", "no such folder"});
}

TEST_F(MaskScribbleSet, RefusesStylesThatDrawNothingSensible) {
  for (const ScribbleStyle& style : std::vector<ScribbleStyle>{{.width = 0.5f},
                                                               {.width = NAN},
                                                               {.length = 1.1f},
                                                               {.length = NAN},
                                                               {.dropped = -0.1f},
                                                               {.dropped = NAN}}) {
    expect_input_error([&] { scribble_masks({.masks = masks(), .out = out("a"), .style = style}); },
                       {"expected 1 to 100"});
  }
  expect_nothing_written();
}

TEST_F(MaskScribbleSet, RefusesFoldersThatHoldSomething) {
  const auto refused = [&](const fs::path& path, std::initializer_list<std::string> words) {
    expect_input_error([&] { scribble_masks({.masks = masks(), .out = path}); }, words);
  };
  const auto before = files(masks());
  refused(masks(), {"masks", "not empty"});
  EXPECT_EQ(files(masks()), before);
  refused(masks() / "m0.png", {"m0.png", "is a file"});
  refused(masks() / "m0.png" / "deeper", {"m0.png"});
  EXPECT_EQ(files(masks()), before);
  expect_nothing_written();
}

}  // namespace
}  // namespace scrawl
