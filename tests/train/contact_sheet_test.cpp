#include "train/report/contact_sheet.h"

#include <gtest/gtest.h>

#include <cmath>

#include "data/palette.h"
#include "train/report/canvas.h"
#include "train/report/overlay.h"

namespace scrawl {
namespace {

Rgb pixel_at(const Image& image, int y, int x) {
  const size_t at = 3 * (static_cast<size_t>(y) * image.width + x);
  return {image.pixels[at], image.pixels[at + 1], image.pixels[at + 2]};
}

int count(const Image& image, Rgb colour) {
  int found = 0;
  for (int y = 0; y < image.height; ++y) {
    for (int x = 0; x < image.width; ++x) found += pixel_at(image, y, x) == colour;
  }
  return found;
}

LabelMap uniform_map(int height, int width, uint8_t label) {
  return {height, width, std::vector<uint8_t>(static_cast<size_t>(height) * width, label)};
}

TEST(Overlay, BlendsLabelsAndLeavesUnlabelledPixels) {
  const Image photo = blank(3, 3, {100, 100, 100});
  LabelMap map = uniform_map(3, 3, 1);
  Palette palette = voc_palette();
  EXPECT_EQ(pixel_at(overlay(photo, map, palette, 0.5f), 1, 1), (Rgb{114, 50, 50}));
  EXPECT_EQ(overlay(photo, map, palette, 0.0f).pixels, photo.pixels);
  map = uniform_map(3, 3, kUnlabelled);
  EXPECT_EQ(overlay(photo, map, palette, 0.5f).pixels, photo.pixels);
  map.labels[8] = 2;  // its upper and left neighbours are on an edge
  EXPECT_GT(pixel_at(overlay(photo, map, palette, 0.5f), 1, 2)[0], 200);
  EXPECT_THROW(overlay(photo, uniform_map(3, 4, 0), palette, 0.5f), std::invalid_argument);
}

TEST(Overlay, ColourisesByStoredIndex) {
  const Image image = colourise({1, 3, {0, 1, 255}}, voc_palette());
  EXPECT_EQ(image.pixels, (std::vector<uint8_t>{0, 0, 0, 128, 0, 0, 224, 224, 192}));
}

TEST(Overlay, StrokesStandOut) {
  LabelMap scribble = uniform_map(20, 20, kUnlabelled);
  scribble.labels[10 * 20 + 10] = 1;
  const Image image = strokes_over(blank(40, 40, {90, 200, 10}), scribble, voc_palette(), 3.0f);
  EXPECT_NEAR(count(image, {128, 0, 0}), 28, 6);  // pi r^2
  EXPECT_EQ(pixel_at(image, 21, 21), (Rgb{128, 0, 0}));
  const Rgb ground = pixel_at(image, 0, 0);
  EXPECT_TRUE(ground[0] == ground[1] && ground[1] == ground[2]);
}

TEST(Canvas, ScalesPhotosByAreaAndLabelsByNearest) {
  Image photo{2, 4, {}};
  for (const int value : {0, 100, 10, 30, 100, 200, 10, 30})
    photo.pixels.insert(photo.pixels.end(), 3, value);
  const Image half = scaled(photo, 1, 2);
  EXPECT_NEAR(half.pixels[0], 100, 13);
  EXPECT_NEAR(half.pixels[3], 20, 13);
  EXPECT_EQ(count(scaled(blank(7, 5, {9, 8, 7}), 16, 31), {9, 8, 7}), 16 * 31);
  const LabelMap labels = scaled(LabelMap{2, 2, {1, 2, 3, 4}}, 4, 4);
  EXPECT_EQ(labels.labels, (std::vector<uint8_t>{1, 1, 2, 2, 1, 1, 2, 2, 3, 3, 4, 4, 3, 3, 4, 4}));
}

TEST(Canvas, TextLeavesInkInsideItsWidth) {
  Image image = blank(40, 200, {255, 255, 255});
  write_text(image, 10, 10, "disc \xC3\xA9", 2.0f, {0, 0, 0});
  const int width = static_cast<int>(text_width("disc \xC3\xA9", 2.0f));
  EXPECT_GT(width, 40);
  int ink = 0, outside = 0;
  for (int y = 0; y < 40; ++y) {
    for (int x = 0; x < 200; ++x) {
      const bool dark = pixel_at(image, y, x)[0] < 128;
      ink += dark;
      outside += dark && (x < 10 || x > 10 + width || y < 10 || y > 10 + 2 * 12);
    }
  }
  EXPECT_GT(ink, 80);
  EXPECT_EQ(outside, 0);
  write_text(image, 195, 35, "runs out of the image", 2.0f, {0, 0, 0});
}

SheetRow row_of(int height, int width, uint8_t predicted) {
  return {.id = "some_id",
          .photo = blank(height, width, {10, 200, 30}),
          .scribble = uniform_map(height, width, kUnlabelled),
          .prediction = uniform_map(height, width, predicted),
          .truth = {}};
}

TEST(ContactSheet, ShowsEveryRowWhateverItsSize) {
  Palette palette{};
  for (int i = 0; i < 9; ++i) palette[i] = {static_cast<uint8_t>(20 * i), 255, 255};
  const std::vector<std::string> names{"a", "b", "c"};
  std::vector<SheetRow> rows;
  for (int i = 0; i < 9; ++i)
    rows.push_back(row_of(40 + 60 * (i % 3), 300 - 80 * (i % 3), static_cast<uint8_t>(i)));
  const Image sheet = draw_contact_sheet(rows, kResultColumns, palette, names);
  for (int i = 0; i < 9; ++i) {
    // 72 % of the class over the photo.
    const Rgb blend{static_cast<uint8_t>(std::lround(10 + 0.72f * (20 * i - 10))), 240, 192};
    EXPECT_GT(count(sheet, blend), 1000) << "row " << i;
  }
  EXPECT_GT(sheet.width, sheet.height) << "nine rows stand in two halves";
  for (const int rows_shown : {0, 1, 6, 7}) {
    const Image part = draw_contact_sheet(std::span(rows).first(rows_shown), kResultColumns, palette, names);
    EXPECT_EQ(part.pixels.size(), 3u * part.height * part.width);
  }
}

TEST(ContactSheet, LegendWrapsWithManyClasses) {
  const std::vector<SheetRow> rows{row_of(100, 100, 0)};
  const std::vector<std::string> few(3, "aeroplane"), many(60, "aeroplane");
  const Palette palette = voc_palette();
  const Image narrow = draw_contact_sheet(rows, kResultColumns, palette, few),
              wrapped = draw_contact_sheet(rows, kResultColumns, palette, many);
  EXPECT_EQ(narrow.width, wrapped.width);
  EXPECT_GT(wrapped.height, narrow.height + 200);
  EXPECT_GT(count(wrapped, palette[59]), 100);
}

}  // namespace
}  // namespace scrawl
