// Convolutions of batches without images, and of so many that a block goes through its stages several times:
// cases that the table of operations cannot have, or that take it too long.
#include "kernels/convolution.h"

#include <memory>

#include "tests/kernels/values.h"

namespace scrawl {
namespace {

struct Results {
  Values y, dw, dbias;
};

/// y, and gradients of the weights, which are to replace ones.
Results convolve(Device& device, DType dtype, const ConvolutionShape& shape, const Values& x,
                 const Values& dy, const Values& w) {
  const Shape map{shape.images, shape.height, shape.width, shape.channels};
  const Shape out_map{shape.images, shape.out_height(), shape.out_width(), shape.out_channels};
  const Shape weights{shape.out_channels, shape.kernel, shape.kernel, shape.channels};
  const Tensor x_there = stored(device, map, dtype, x), dy_there = stored(device, out_map, dtype, dy);
  const Tensor w_there = stored(device, weights, dtype, w);
  const Tensor bias = stored(device, {shape.out_channels}, dtype, Values(shape.out_channels, 0.5f));
  const Tensor y = Tensor::zeros(device, out_map, dtype);
  const Tensor dw = Tensor::from(device, weights, Values(shape.weights(), 1.0f));
  const Tensor dbias = Tensor::from(device, {shape.out_channels}, Values(shape.out_channels, 1.0f));
  device.run(ConvolutionForward{.dtype = dtype,
                                .shape = shape,
                                .x = x_there.raw(),
                                .w = w_there.raw(),
                                .bias = bias.raw(),
                                .y = y.raw()});
  device.run(ConvolutionBackwardWeight{.dtype = dtype,
                                       .shape = shape,
                                       .x = x_there.raw(),
                                       .dy = dy_there.raw(),
                                       .dw = dw.data<float>(),
                                       .dbias = dbias.data<float>()});
  return {loaded(device, y), loaded(device, dw), loaded(device, dbias)};
}

/// a, b, a, b, … in `count` turns.
Values in_turns(const Values& a, const Values& b, int64_t count) {
  Values all;
  for (int64_t i = 0; i < count; ++i) {
    const Values& next = i % 2 == 0 ? a : b;
    all.insert(all.end(), next.begin(), next.end());
  }
  return all;
}

Values scaled_sum(const Values& a, const Values& b, float factor) {
  Values sum(a.size());
  std::ranges::transform(a, b, sum.begin(), [=](float left, float right) { return factor * (left + right); });
  return sum;
}

class ConvolutionBatch : public ::testing::TestWithParam<DeviceKind> {
 protected:
  void SetUp() override {
    if (const std::string reason = Device::absence(GetParam()); !reason.empty()) GTEST_SKIP() << reason;
    device_ = std::make_unique<Device>(Device::Options{.kind = GetParam(), .guard_memory = true});
  }
  std::unique_ptr<Device> device_;
};

TEST_P(ConvolutionBatch, WithoutImagesSetsTheWeightsGradientToZero) {
  const ConvolutionShape image{
      .height = 8, .width = 8, .channels = 3, .out_channels = 8, .kernel = 7, .stride = 4};
  ConvolutionShape packs = image, dense = image;
  packs.channels = dense.channels = 16;
  dense.kernel = 3, dense.stride = 1;
  for (const DType dtype : {DType::f32, DType::bf16})
    for (const ConvolutionShape& shape : {image, packs, dense}) {
      if (GetParam() == DeviceKind::cpu && dtype == DType::bf16) continue;
      const Results results = convolve(*device_, dtype, shape, {}, {}, noise(shape.weights(), 0));
      EXPECT_EQ(results.y, Values());
      EXPECT_EQ(results.dw, Values(shape.weights()));
      EXPECT_EQ(results.dbias, Values(shape.out_channels));
    }
}

/// Two images in turns: what one is alone, it is in the batch, and gradients of weights add up.
TEST_P(ConvolutionBatch, GivesWhatItsImagesGive) {
  const DType dtype = GetParam() == DeviceKind::cpu ? DType::f32 : DType::bf16;
  const ConvolutionShape several[] = {
      // 256 positions of a block.
      {50, 64, 64, 3, 8, 7, 2, 3},
      // Tiles of 128 and of 64 outputs, five stages of positions.
      {34, 16, 8, 352, 72, 4, 4, 0},
      {66, 16, 8, 352, 40, 4, 4, 0},
  };
  for (const ConvolutionShape& all : several) {
    SCOPED_TRACE(all.out_channels);
    ConvolutionShape one = all;
    one.images = 1;
    const Values w = noise(all.weights(), 0);
    const Values x[] = {noise(one.inputs(), 1), noise(one.inputs(), 2)};
    const Values dy[] = {noise(one.outputs(), 3), noise(one.outputs(), 4)};
    const Results a = convolve(*device_, dtype, one, x[0], dy[0], w);
    const Results b = convolve(*device_, dtype, one, x[1], dy[1], w);
    const Results got = convolve(*device_, dtype, all, in_turns(x[0], x[1], all.images),
                                 in_turns(dy[0], dy[1], all.images), w);
    expect_near(got.y, in_turns(a.y, b.y, all.images), 0x1p-8, "y");
    const auto pairs = static_cast<float>(all.images / 2);
    expect_near(got.dw, scaled_sum(a.dw, b.dw, pairs), 1e-4, "dw");
    expect_near(got.dbias, scaled_sum(a.dbias, b.dbias, pairs), 1e-4, "dbias");
  }
}

INSTANTIATE_TEST_SUITE_P(All, ConvolutionBatch, ::testing::ValuesIn(devices_of_this_build()), by_device);

}  // namespace
}  // namespace scrawl
