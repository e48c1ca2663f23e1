#include "kernels/cpu/winograd.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "engine/random.h"
#include "kernels/cpu/queue.h"

namespace scrawl::cpu {
namespace {

std::vector<float> noise(int64_t count, uint64_t stream) {
  Random random(7, stream);
  std::vector<float> values(count);
  for (float& value : values) value = random.normal();
  return values;
}

/// A batch of more images than fit into one chunk of tiles, all of them different.
class WinogradBatch : public testing::Test {
 protected:
  static constexpr int kImages = 25;
  WinogradBatch()
      : x_(noise(shape(kImages).inputs(), 0)),
        dy_(noise(shape(kImages).outputs(), 1)),
        w_(noise(shape(1).weights(), 2)),
        bias_(noise(shape(1).out_channels, 3)) {}

  static ConvolutionShape shape(int64_t images) {
    return {.images = images,
            .height = 9,
            .width = 10,
            .channels = 128,
            .out_channels = 144,
            .kernel = 3,
            .stride = 1,
            .padding = 1};
  }
  /// Rounding alone may tell images in a batch from images alone: sums of some 1,000 products of noise.
  static void expect_near(const std::vector<float>& got, const std::vector<float>& want, float tolerance) {
    ASSERT_EQ(got.size(), want.size());
    for (size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], want[i], tolerance) << "at " << i;
  }

  Queue queue_{2};
  std::vector<float> x_, dy_, w_, bias_;
};

TEST_F(WinogradBatch, ForwardIsThatOfEachImage) {
  std::vector<float> together(shape(kImages).outputs()), alone(together.size());
  run_winograd(ConvolutionForward{.shape = shape(kImages),
                                  .x = x_.data(),
                                  .w = w_.data(),
                                  .bias = bias_.data(),
                                  .y = together.data()},
               queue_);
  for (int i = 0; i < kImages; ++i)
    run_winograd(ConvolutionForward{.shape = shape(1),
                                    .x = &x_[i * shape(1).inputs()],
                                    .w = w_.data(),
                                    .bias = bias_.data(),
                                    .y = &alone[i * shape(1).outputs()]},
                 queue_);
  expect_near(together, alone, 1e-3f);
}

TEST_F(WinogradBatch, BackwardToTheInputIsThatOfEachImage) {
  std::vector<float> together(shape(kImages).inputs()), alone(together.size());
  run_winograd(
      ConvolutionBackwardInput{
          .shape = shape(kImages), .dy = dy_.data(), .w = w_.data(), .dx = together.data()},
      queue_);
  for (int i = 0; i < kImages; ++i)
    run_winograd(ConvolutionBackwardInput{.shape = shape(1),
                                          .dy = &dy_[i * shape(1).outputs()],
                                          .w = w_.data(),
                                          .dx = &alone[i * shape(1).inputs()]},
                 queue_);
  expect_near(together, alone, 1e-3f);
}

TEST_F(WinogradBatch, BackwardToTheWeightsSumsThoseOfEachImage) {
  const int outputs = shape(1).out_channels;
  std::vector<float> together(w_.size()), bias_together(outputs), alone(w_.size()), bias_alone(outputs);
  run_winograd(ConvolutionBackwardWeight{.shape = shape(kImages),
                                         .x = x_.data(),
                                         .dy = dy_.data(),
                                         .dw = together.data(),
                                         .dbias = bias_together.data()},
               queue_);
  for (int i = 0; i < kImages; ++i)
    run_winograd(ConvolutionBackwardWeight{.shape = shape(1),
                                           .x = &x_[i * shape(1).inputs()],
                                           .dy = &dy_[i * shape(1).outputs()],
                                           .dw = alone.data(),
                                           .dbias = bias_alone.data(),
                                           .accumulate = i > 0},
                 queue_);
  expect_near(together, alone, 2e-3f);
  expect_near(bias_together, bias_alone, 1e-3f);
}

}  // namespace
}  // namespace scrawl::cpu
