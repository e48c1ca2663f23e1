#include "data/augmentation.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "engine/safetensors.h"
#include "tests/paths.h"

namespace scrawl {
namespace {

/// What OpenCV made of one image, step by step.
const SafeTensors& reference() {
  static const SafeTensors file = read_safetensors(fixture("augmentation.safetensors"));
  return file;
}

FloatImage image_of(const std::string& name) {
  const HostTensor& tensor = reference().at(name);
  return {static_cast<int>(tensor.shape[0]), static_cast<int>(tensor.shape[1]), tensor.floats()};
}

LabelMap label_of(const std::string& name) {
  const HostTensor& tensor = reference().at(name);
  const auto* bytes = reinterpret_cast<const uint8_t*>(tensor.bytes.data());
  return {static_cast<int>(tensor.shape[0]),
          static_cast<int>(tensor.shape[1]),
          {bytes, bytes + tensor.bytes.size()}};
}

void expect_near(const FloatImage& got, const FloatImage& expected, float bound) {
  ASSERT_EQ(got.height, expected.height);
  ASSERT_EQ(got.width, expected.width);
  float worst = 0;
  for (size_t i = 0; i < got.pixels.size(); ++i) {
    ASSERT_TRUE(std::isfinite(got.pixels[i]));
    worst = std::max(worst, std::abs(got.pixels[i] - expected.pixels[i]));
  }
  EXPECT_LE(worst, bound);
}

void expect_equal(const LabelMap& got, const LabelMap& expected) {
  ASSERT_EQ(got.height, expected.height);
  ASSERT_EQ(got.width, expected.width);
  EXPECT_EQ(got.labels, expected.labels);
}

/// Of values up to 255: only the order of float operations differs.  That holds for the rotation too, since
/// it rounds source positions exactly as OpenCV does; a position off by 1/32 pixel would change values by up
/// to 8.
constexpr float kExact = 1e-3f;

TEST(Augmentation, ResizesAsOpenCv) {
  for (const std::string scale : {"0.5", "0.73", "1.0", "1.37", "2.0"}) {
    SCOPED_TRACE(scale);
    expect_near(resize_bilinear(image_of("image"), std::stod(scale)), image_of("resize/" + scale + "/image"),
                kExact);
    expect_equal(resize_nearest(label_of("label"), std::stod(scale)), label_of("resize/" + scale + "/label"));
  }
}

TEST(Augmentation, RotatesAsOpenCv) {
  for (const std::string angle : {"-10.0", "-3.3", "4.7", "10.0"}) {
    SCOPED_TRACE(angle);
    expect_near(rotate(image_of("image"), std::stod(angle)), image_of("rotate/" + angle + "/image"), kExact);
    expect_equal(rotate(label_of("label"), std::stod(angle)), label_of("rotate/" + angle + "/label"));
  }
}

TEST(Augmentation, BlursAsOpenCv) {
  expect_near(blur(image_of("image")), image_of("blur/image"), kExact);
}

TEST(Augmentation, FlipsAsOpenCv) {
  expect_near(flip(image_of("image")), image_of("flip/image"), 0);
  expect_equal(flip(label_of("label")), label_of("flip/label"));
}

TEST(Augmentation, PadsTheSmallerHalfBefore) {
  const FloatImage image = image_of("image");
  const Window window = center_window(image.height, image.width, 96, 96);
  expect_near(crop(image, window), image_of("pad/image"), 0);
  expect_equal(crop(label_of("label"), window), label_of("pad/label"));
}

TEST(Augmentation, CropsWhatTheWindowCovers) {
  const LabelMap map{2, 3, {1, 2, 3, 4, 5, 6}};
  EXPECT_EQ(crop(map, {0, 1, 2, 2}).labels, (std::vector<uint8_t>{2, 3, 5, 6}));
  EXPECT_EQ(crop(map, {-1, 2, 2, 2}).labels, (std::vector<uint8_t>{255, 255, 3, 255}));
  EXPECT_EQ(crop(map, {5, 7, 1, 2}).labels, (std::vector<uint8_t>{255, 255}));
  const FloatImage far = crop(FloatImage{1, 1, {1, 2, 3}}, {-3, -3, 1, 1});
  EXPECT_EQ(far.pixels, std::vector<float>(kPixelMean.begin(), kPixelMean.end()));
}

TEST(Augmentation, HandlesImagesOfOnePixel) {
  const FloatImage dot{1, 1, {10, 20, 30}};
  for (const float scale : {0.5f, 1.0f, 2.0f}) {
    const FloatImage resized = resize_bilinear(dot, scale);
    ASSERT_EQ(resized.pixels.size(), scale == 2 ? 12 : 3);
    for (int i = 0; i < resized.pixels.size(); ++i) EXPECT_EQ(resized.pixels[i], dot.pixels[i % 3]);
  }
  expect_near(blur(dot), dot, 1e-5f);
  EXPECT_EQ(rotate(dot, 3).pixels.size(), 3);
  EXPECT_EQ(resize_nearest(LabelMap{1, 1, {4}}, 0.5).labels, std::vector<uint8_t>{4});
}

TEST(Augmentation, NormalisesWithTheMeanAndDeviationOfImageNet) {
  const FloatImage image{1, 2, {123.675f, 116.28f, 103.53f, 123.675f + 58.395f, 116.28f - 57.12f, 103.53f}};
  std::vector<float> out(6, NAN);
  normalise(image, out.data());
  const float expected[] = {0, 0, 0, 1, -1, 0};
  for (int i = 0; i < 6; ++i) EXPECT_NEAR(out[i], expected[i], 1e-6f);
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
    if (height > 150) tops.insert(plan.window.top);
    if (width > 200) lefts.insert(plan.window.left);
    rotated += plan.degrees.has_value();
    blurred += plan.blur;
    flipped += plan.flip;
    EXPECT_LE(std::abs(plan.degrees.value_or(0)), 10);
    padded += height < 96;
    EXPECT_EQ(plan.window.top < 0, height < 96 && (96 - height) / 2 > 0);
    EXPECT_GE(plan.window.top, std::min(0, -(96 - height) / 2));
    EXPECT_LE(plan.window.top, std::max(0, height - 96));
    EXPECT_LE(plan.window.left, std::max(0, width - 96));
    EXPECT_GE(plan.window.left, std::min(0, (width - 96) / 2));
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

TEST(Augmentation, CarriesOutThePlanInOrder) {
  AugmentationPlan plan{
      .scale = 1.37f, .degrees = 4.7f, .blur = true, .flip = true, .window = {3, 5, 40, 50}};
  FloatImage image = image_of("image");
  LabelMap label = label_of("label");
  const FloatImage expected =
      crop(flip(blur(rotate(resize_bilinear(image, plan.scale), *plan.degrees))), plan.window);
  const LabelMap expected_label =
      crop(flip(rotate(resize_nearest(label, plan.scale), *plan.degrees)), plan.window);
  augment(plan, image, label);
  expect_near(image, expected, 0);
  expect_equal(label, expected_label);
}

}  // namespace
}  // namespace scrawl
