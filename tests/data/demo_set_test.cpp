#include "data/demo_set.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <map>

#include "data/palette.h"
#include "engine/error.h"
#include "engine/files.h"

namespace scrawl {
namespace {

namespace fs = std::filesystem;

/// A folder that goes when the test ends.
struct TemporaryFolder {
  fs::path path = fs::temp_directory_path() / fmt::format("scrawl_demo_{}", getpid());
  ~TemporaryFolder() { fs::remove_all(path); }
};

std::map<std::string, std::string> files_below(const fs::path& root) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    if (entry.is_regular_file()) files[fs::relative(entry.path(), root).string()] = read_file(entry.path());
  }
  return files;
}

TEST(VocPalette, HasThePublishedColours) {
  using Colour = std::array<uint8_t, 3>;
  const Palette palette = voc_palette();
  EXPECT_EQ(palette[0], (Colour{0, 0, 0}));
  EXPECT_EQ(palette[1], (Colour{128, 0, 0}));
  EXPECT_EQ(palette[15], (Colour{192, 128, 128}));
  EXPECT_EQ(palette[20], (Colour{0, 64, 128}));
  EXPECT_EQ(palette[255], (Colour{224, 224, 192}));
}

TEST(DemoSet, IsReadBackAsVocLayoutAndRepeatsByteForByte) {
  const TemporaryFolder folder;
  const DemoConfig config{.train_images = 7, .val_images = 3, .size = 96, .seed = 5};
  int calls = 0;
  draw_demo_set(folder.path / "a", config, [&](int done, int total) {
    EXPECT_EQ(done, ++calls);
    EXPECT_EQ(total, 10);
  });
  EXPECT_EQ(calls, 10);
  draw_demo_set(folder.path / "b", config);
  const auto files = files_below(folder.path / "a");
  EXPECT_EQ(files, files_below(folder.path / "b"));
  EXPECT_EQ(files.size(), 3u * 10u + 3u);  // photos, scribbles, masks; two lists and the names
  EXPECT_EQ(files.at("ImageSets/val.txt"), "demo_0007\ndemo_0008\ndemo_0009\n");

  const int classes = static_cast<int>(demo_class_names().size());
  const LabelMap scribble = read_label_map(folder.path / "a/ScribbleLabels/demo_0002.png", classes);
  const LabelMap truth = read_label_map(folder.path / "a/SegmentationClass/demo_0002.png", classes);
  const Image photo = read_image(folder.path / "a/JPEGImages/demo_0002.jpg");
  const DemoScene scene = draw_demo_scene(96, 5, 2);
  EXPECT_EQ(truth.labels, scene.truth.labels);
  EXPECT_EQ(scribble.labels, draw_demo_scribbles(scene, 5, 2).labels);
  EXPECT_EQ(photo.height, 96);
  EXPECT_EQ(photo.width, 96);
}

TEST(DemoSet, DependsOnTheSeed) {
  EXPECT_EQ(draw_demo_scene(64, 1, 0).photo.pixels, draw_demo_scene(64, 1, 0).photo.pixels);
  EXPECT_NE(draw_demo_scene(64, 1, 0).photo.pixels, draw_demo_scene(64, 2, 0).photo.pixels);
  EXPECT_NE(draw_demo_scene(64, 1, 0).photo.pixels, draw_demo_scene(64, 1, 6).photo.pixels);
}

TEST(DemoSet, RefusesSizesThatMakeNoSet) {
  const TemporaryFolder folder;
  EXPECT_THROW(draw_demo_set(folder.path, {.size = 16}), InputError);
  EXPECT_THROW(draw_demo_set(folder.path, {.train_images = 0}), InputError);
  EXPECT_FALSE(fs::exists(folder.path));
}

TEST(DemoSet, ShowsEveryClassAndMarksItTruly) {
  constexpr int kImages = 48, kSize = 160;
  const int classes = static_cast<int>(demo_class_names().size());
  std::vector<int> pixels(classes), marked_images(classes);
  int marked = 0, right = 0, wrong_images = 0;
  for (int i = 0; i < kImages; ++i) {
    const DemoScene scene = draw_demo_scene(kSize, 3, i);
    const LabelMap scribble = draw_demo_scribbles(scene, 3, i);
    std::vector<int> here(classes);
    int wrong = 0;
    for (size_t p = 0; p < scribble.labels.size(); ++p) {
      ASSERT_LT(scene.truth.labels[p], classes);
      ++pixels[scene.truth.labels[p]];
      if (scribble.labels[p] == kUnlabelled) continue;
      ++here[scribble.labels[p]];
      wrong += scribble.labels[p] != scene.truth.labels[p];
    }
    for (int c = 0; c < classes; ++c) {
      marked += here[c];
      marked_images[c] += here[c] > 0;
    }
    right -= wrong;
    wrong_images += wrong > 0;
  }
  right += marked;
  EXPECT_EQ(marked_images[0], kImages);
  for (int c = 1; c < classes; ++c) {
    EXPECT_GE(marked_images[c], kImages / classes) << demo_class_names()[c];
    EXPECT_GT(pixels[c], kImages * kSize * kSize / 200) << demo_class_names()[c];
  }
  EXPECT_GT(right, 0.97 * marked);
  EXPECT_GT(wrong_images, kImages / 10) << "some strokes are meant to be sloppy";
  const int total = kImages * kSize * kSize;
  EXPECT_GT(marked, total / 100);
  EXPECT_LT(marked, total / 10);
}

}  // namespace
}  // namespace scrawl
