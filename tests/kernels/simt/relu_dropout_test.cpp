#include "kernels/cuda/relu_dropout.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "engine/random.h"
#include "kernels/simt/queue.h"

namespace scrawl::simt {
namespace {

/// Maps of a few images, some of whose channels are dropped.  What stands around a library's batch norm has
/// to do what batch_norm_relu.h says in one.
class ReluDropout : public testing::TestWithParam<int> {
 protected:
  static constexpr int64_t kImages = 3, kPositions = 77;

  ReluDropout() {
    const auto noise = [this](int64_t count) {
      std::vector<float> values(count);
      for (float& value : values) value = random_.normal();
      return values;
    };
    x_ = noise(elements());
    dy_ = noise(elements());
    for (auto* each : {&mean_, &rstd_, &gamma_, &beta_}) *each = noise(channels_);
  }
  int64_t elements() const { return kImages * kPositions * channels_; }
  float factor(int64_t index) const {
    const int64_t image = index / (kPositions * channels_);
    return dropout_.scale(static_cast<uint32_t>(image * channels_ + index % channels_));
  }

  const int channels_ = GetParam();
  const StepState state_{.seed = 5, .step = 3};
  const ChannelDropout dropout_{0.4f, {&state_, 1}};
  Random random_{7, 0};
  std::vector<float> x_, dy_, mean_, rstd_, gamma_, beta_;
  Queue queue_;
};

TEST_P(ReluDropout, PassesPositiveValuesOfKeptChannels) {
  std::vector<float> y = x_;
  relu_dropout(
      {.y = y.data(), .images = kImages, .positions = kPositions, .channels = channels_, .dropout = dropout_},
      queue_);
  int64_t dropped = 0;
  for (int64_t i = 0; i < elements(); ++i) {
    ASSERT_EQ(y[i], factor(i) * std::max(x_[i], 0.0f)) << "at " << i;
    dropped += factor(i) == 0.0f;
  }
  EXPECT_GT(dropped, 0);
  EXPECT_LT(dropped, elements());
}

TEST_P(ReluDropout, PassesGradientsWhereBatchNormGavePositiveValues) {
  std::vector<float> dz(elements(), NAN);
  relu_dropout_backward({.x = x_.data(),
                         .gamma = gamma_.data(),
                         .beta = beta_.data(),
                         .mean = mean_.data(),
                         .rstd = rstd_.data(),
                         .dy = dy_.data(),
                         .images = kImages,
                         .positions = kPositions,
                         .channels = channels_,
                         .dropout = dropout_},
                        dz.data(), queue_);
  for (int64_t i = 0; i < elements(); ++i) {
    const int64_t c = i % channels_;
    const double z = (double{x_[i]} - mean_[c]) * rstd_[c] * gamma_[c] + beta_[c];
    if (std::abs(z) < 1e-5) continue;  // rounding decides
    ASSERT_EQ(dz[i], z > 0.0 ? factor(i) * dy_[i] : 0.0f) << "at " << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Channels, ReluDropout, testing::Values(1, 6, 33, 260, 1028));

}  // namespace
}  // namespace scrawl::simt
