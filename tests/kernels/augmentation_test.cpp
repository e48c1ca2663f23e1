#include "kernels/augmentation.h"

#include <gtest/gtest.h>

#include <cmath>

#include "engine/ops.h"
#include "engine/safetensors.h"
#include "engine/tensor.h"
#include "kernels/bf16.h"
#include "tests/kernels/stepwise_augmentation.h"
#include "tests/paths.h"

namespace scrawl {
namespace {

/// A sample on the host.
struct Source {
  int height, width;
  std::vector<LabelledPixel> pixels;
};

struct Crops {
  std::vector<float> image;
  std::vector<uint8_t> label;
};

/// What a device makes of samples, each with its plan.
Crops crops_of(const Device::Options& options, const std::vector<Source>& sources,
               const std::vector<AugmentationPlan>& plans, int height, int width, DType dtype = DType::f32) {
  Device device(options);
  std::vector<Tensor> samples;
  std::vector<CropPlan> crop_plans;
  const auto upload = [&](const auto& values) {
    const auto bytes = static_cast<int64_t>(values.size() * sizeof(values[0]));
    Tensor tensor(device, {bytes}, DType::u8);
    device.upload(tensor.raw(), values.data(), bytes);
    return tensor;
  };
  for (size_t i = 0; i < sources.size(); ++i) {
    const auto& [sample_height, sample_width, pixels] = sources[i];
    samples.push_back(upload(pixels));
    crop_plans.push_back(crop_plan(plans[i], static_cast<const LabelledPixel*>(samples.back().raw()),
                                   sample_height, sample_width));
  }
  const auto images = static_cast<int64_t>(sources.size());
  const Tensor plan_table = upload(crop_plans), image(device, {images, height, width, 3}, dtype),
               label(device, {images, height, width}, DType::u8);
  device.run(AugmentCrops{.plans = static_cast<const CropPlan*>(plan_table.raw()),
                          .images = images,
                          .height = height,
                          .width = width,
                          .dtype = dtype,
                          .image = image.raw(),
                          .label = label.data<uint8_t>()});
  Tape tape(device, Tape::Mode::evaluate);
  Crops crops{ops::cast(tape, image, DType::f32).to_host(), label.to_host<uint8_t>()};
  EXPECT_EQ(device.memory().damage(), "");
  return crops;
}

class AugmentationKernel : public ::testing::TestWithParam<DeviceKind> {
 protected:
  static Crops crops(const std::vector<Source>& sources, const std::vector<AugmentationPlan>& plans,
                     int height, int width) {
    return crops_of({.kind = GetParam(), .threads = 2, .guard_memory = true}, sources, plans, height, width);
  }
};

// What OpenCV made of one image, step by step.

const HostTensor& recorded(const std::string& name) {
  static const TensorFile file = read_safetensors(fixture("augmentation.safetensors"));
  return file.at(name);
}

Source recorded_source() {
  const HostTensor &image = recorded("image"), &label = recorded("label");
  Source source{static_cast<int>(image.shape[0]), static_cast<int>(image.shape[1]), {}};
  const std::vector<float> colours = image.floats();
  for (size_t i = 0; i < colours.size(); i += 3) {
    const auto byte = [&](int c) { return static_cast<uint8_t>(colours[i + c]); };
    source.pixels.push_back({{byte(0), byte(1), byte(2)}, static_cast<uint8_t>(label.bytes[i / 3])});
  }
  return source;
}

/// Of values up to 255: only the order of float operations differs.  That holds for the rotation too, since
/// it rounds source positions exactly as OpenCV does; a position off by 1/32 pixel would change values by up
/// to 8.
constexpr float kExact = 1e-3f;

/// Expects the crop of a single step to be what is recorded under `name`.
void expect_recorded(const std::string& name, const Crops& crops) {
  const std::vector<float> expected = recorded(name + "/image").floats();
  ASSERT_EQ(crops.image.size(), expected.size()) << name;
  float worst = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    const float value = crops.image[i] * pixel_deviation(i % 3) + pixel_mean(i % 3);
    ASSERT_TRUE(std::isfinite(value)) << name;
    worst = std::max(worst, std::abs(value - expected[i]));
  }
  EXPECT_LE(worst, kExact) << name;
  if (name == "blur") return;  // has no labels
  const auto& bytes = recorded(name + "/label").bytes;
  const auto* labels = reinterpret_cast<const uint8_t*>(bytes.data());
  EXPECT_EQ(crops.label, std::vector<uint8_t>(labels, labels + bytes.size())) << name;
}

TEST_P(AugmentationKernel, TakesTheStepsOfOpenCv) {
  const Source source = recorded_source();
  const auto expect_step = [&](const std::string& name, const AugmentationPlan& plan) {
    const auto& shape = recorded(name + "/image").shape;
    const int height = static_cast<int>(shape[0]), width = static_cast<int>(shape[1]);
    expect_recorded(name, crops({source}, {plan}, height, width));
  };
  for (const std::string scale : {"0.5", "0.73", "1.0", "1.37", "2.0"})
    expect_step("resize/" + scale, {.scale = std::stof(scale)});
  for (const std::string degrees : {"-10.0", "-3.3", "4.7", "10.0"})
    expect_step("rotate/" + degrees, {.degrees = std::stof(degrees)});
  expect_step("blur", {.blur = true});
  expect_step("flip", {.flip = true});
  expect_step("pad", {.corner = center_corner(source.height, source.width, 96, 96)});
}

// All steps together, in random samples.

Source random_source(Random& random, int height, int width) {
  Source source{height, width, std::vector<LabelledPixel>(size_t{1} * height * width)};
  for (LabelledPixel& pixel : source.pixels) {
    for (uint8_t& colour : pixel.rgb) colour = static_cast<uint8_t>(random.below(256));
    pixel.label = static_cast<uint8_t>(random.below(22));
  }
  return source;
}

/// Of values up to 2.7, made from values up to 255 by a dozen roundings of 2⁻²⁴, then divided by about 57.
constexpr double kRounding = 5e-6;

void expect_stepwise(const Crops& crops, const std::vector<Source>& sources,
                     const std::vector<AugmentationPlan>& plans, int height, int width) {
  const size_t pixels = size_t{1} * height * width;
  ASSERT_EQ(crops.image.size(), 3 * pixels * sources.size());
  for (size_t i = 0; i < sources.size(); ++i) {
    const Source& source = sources[i];
    const AugmentationPlan& plan = plans[i];
    const auto pixel = [&](int y, int x) { return source.pixels[size_t{1} * y * source.width + x]; };
    const auto [photo, labels] = stepwise::augment(
        plan,
        stepwise::filled<stepwise::Photo>(source.height, source.width, 3,
                                          [&](int y, int x, int c) { return pixel(y, x).rgb[c]; }),
        stepwise::filled<stepwise::Labels>(source.height, source.width, 1,
                                           [&](int y, int x, int) { return pixel(y, x).label; }),
        height, width);
    SCOPED_TRACE(fmt::format("sample {} of {} x {}: scale {}, {} degrees, blur {}, flip {}, top {}, left {}",
                             i, source.height, source.width, plan.scale, plan.degrees.value_or(0), plan.blur,
                             plan.flip, plan.corner.top, plan.corner.left));
    double worst = 0;
    for (size_t j = 0; j < 3 * pixels; ++j) {
      const double value = crops.image[3 * pixels * i + j];
      ASSERT_TRUE(std::isfinite(value)) << j;
      worst = std::max(worst, std::abs(value - photo.values[j]));
    }
    EXPECT_LE(worst, kRounding);
    EXPECT_TRUE(std::equal(labels.values.begin(), labels.values.end(), crops.label.begin() + pixels * i));
  }
}

/// Every combination of rotation, blur and flip, at several scales, with corners inside, over the edges, and
/// far beyond them.
std::vector<AugmentationPlan> all_kinds(Random& random, int height, int width) {
  std::vector<AugmentationPlan> plans;
  for (int kind = 0; kind < 8; ++kind)
    for (const float scale : {0.5f, 1.0f, random.uniform(0.5f, 2.0f), 2.0f}) {
      AugmentationPlan plan{.scale = scale, .blur = (kind & 1) != 0, .flip = (kind & 2) != 0};
      if (kind & 4) plan.degrees = random.uniform(-10, 10);
      plan.corner = {static_cast<int>(random.below(2 * height)) - height,
                     static_cast<int>(random.below(2 * width)) - width};
      plans.push_back(plan);
    }
  plans[0].corner = {5 * height, -5 * width};
  return plans;
}

TEST_P(AugmentationKernel, TakesAllStepsInOrder) {
  Random random(1, 0);
  const std::vector<AugmentationPlan> plans = all_kinds(random, 45, 70);
  std::vector<Source> sources;
  for (size_t i = 0; i < plans.size(); ++i)
    sources.push_back(random_source(random, 20 + random.below(60), 20 + random.below(60)));
  for (const auto& [height, width] : {std::pair{45, 70}, {16, 32}, {1, 97}})
    expect_stepwise(crops(sources, plans, height, width), sources, plans, height, width);
}

TEST_P(AugmentationKernel, TakesImagesOfAFewPixels) {
  Random random(2, 0);
  std::vector<Source> sources;
  std::vector<AugmentationPlan> plans;
  for (const auto& [height, width] : {std::pair{1, 1}, {1, 2}, {2, 1}, {2, 2}, {3, 1}, {3, 4}, {1, 40}})
    for (const AugmentationPlan& plan : all_kinds(random, 5, 5)) {
      sources.push_back(random_source(random, height, width));
      plans.push_back(plan);
    }
  expect_stepwise(crops(sources, plans, 8, 9), sources, plans, 8, 9);
}

TEST_P(AugmentationKernel, TurnsByAnyAngle) {
  Random random(3, 0);
  std::vector<Source> sources;
  std::vector<AugmentationPlan> plans;
  for (const float degrees : {45.0f, -90.0f, 180.0f, 123.4f}) {
    sources.push_back(random_source(random, 30, 41));
    plans.push_back({.scale = 1.3f, .degrees = degrees, .blur = true, .corner = {3, -5}});
  }
  expect_stepwise(crops(sources, plans, 40, 50), sources, plans, 40, 50);
}

TEST_P(AugmentationKernel, GivesTheSameBitsOnEveryDeviceAndInEveryOrder) {
  Random random(4, 0);
  std::vector<Source> sources;
  std::vector<AugmentationPlan> plans;
  for (int i = 0; i < 12; ++i) {
    const int height = 60 + random.below(60), width = 60 + random.below(60);
    sources.push_back(random_source(random, height, width));
    plans.push_back(draw_augmentation(random, height, width, 70, 66));
  }
  const Crops expected = crops_of({.kind = DeviceKind::cpu, .threads = 1}, sources, plans, 70, 66);
  for (const int threads : {1, 2, 3})
    for (const simt::Order order : {simt::Order::forward, simt::Order::reverse, simt::Order::shuffled}) {
      const Crops crops = crops_of({.kind = GetParam(), .threads = threads, .simt = {.order = order}},
                                   sources, plans, 70, 66);
      EXPECT_EQ(crops.image, expected.image);
      EXPECT_EQ(crops.label, expected.label);
    }
}

#ifdef SCRAWL_SIMT
TEST(AugmentationOnSimt, RoundsToTheTypeOfTheImage) {
  Random random(5, 0);
  const std::vector<Source> sources{random_source(random, 40, 30)};
  const std::vector<AugmentationPlan> plans{draw_augmentation(random, 40, 30, 33, 35)};
  const Crops exact = crops_of({.kind = DeviceKind::simt}, sources, plans, 33, 35);
  const Crops rounded = crops_of({.kind = DeviceKind::simt}, sources, plans, 33, 35, DType::bf16);
  EXPECT_EQ(rounded.label, exact.label);
  std::vector<float> expected;
  for (const float value : exact.image) expected.push_back(to_float(to_bf16(value)));
  EXPECT_EQ(rounded.image, expected);
}
#endif

std::vector<DeviceKind> devices() {
  std::vector<DeviceKind> kinds{DeviceKind::cpu};
#ifdef SCRAWL_SIMT
  kinds.push_back(DeviceKind::simt);
#endif
  return kinds;
}
INSTANTIATE_TEST_SUITE_P(, AugmentationKernel, ::testing::ValuesIn(devices()),
                         [](const auto& test) { return std::string(name_of(test.param)); });

}  // namespace
}  // namespace scrawl
