#include "kernels/cuda/norm/relu_dropout.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "engine/random.h"
#include "kernels/bf16.h"
#include "kernels/simt/queue.h"

namespace scrawl::simt {
namespace {

float as_float(float value) {
  return value;
}
float as_float(bf16 value) {
  return to_float(value);
}
/// Rounded to the type that a map is stored in.
template <typename T>
T stored(float value) {
  if constexpr (std::is_same_v<T, float>)
    return value;
  else
    return to_bf16(value);
}
template <typename T>
constexpr DType kDType = std::is_same_v<T, float> ? DType::f32 : DType::bf16;

/// Maps of a few images, some of whose channels are dropped.  What stands around a library's batch norm has
/// to do what batch_norm_relu.h says in one.
class ReluDropout : public testing::TestWithParam<int> {
 protected:
  static constexpr int64_t kImages = 3, kPositions = 77;

  ReluDropout() {
    for (auto* each : {&mean_, &rstd_, &gamma_, &beta_}) *each = noise<float>(channels_);
  }
  template <typename T>
  std::vector<T> noise(int64_t count) {
    std::vector<T> values(count);
    for (T& value : values) value = stored<T>(random_.normal());
    return values;
  }
  int64_t elements() const { return kImages * kPositions * channels_; }
  float factor(int64_t index) const {
    const int64_t image = index / (kPositions * channels_);
    return dropout_.scale(static_cast<uint32_t>(image * channels_ + index % channels_));
  }

  template <typename T>
  void expect_values_pass();
  template <typename T>
  void expect_gradients_pass();

  const int channels_ = GetParam();
  const StepState state_{.seed = 5, .step = 3};
  const ChannelDropout dropout_{0.4f, {&state_, 1}};
  Random random_{7, 0};
  std::vector<float> mean_, rstd_, gamma_, beta_;
  Queue queue_;
};

template <typename T>
void ReluDropout::expect_values_pass() {
  const auto x = noise<T>(elements());
  auto y = x;
  relu_dropout({.dtype = kDType<T>,
                .y = y.data(),
                .images = kImages,
                .positions = kPositions,
                .channels = channels_,
                .dropout = dropout_},
               queue_);
  int64_t dropped = 0;
  for (int64_t i = 0; i < elements(); ++i) {
    const T want = stored<T>(factor(i) * std::max(as_float(x[i]), 0.0f));
    ASSERT_EQ(as_float(y[i]), as_float(want)) << "at " << i;
    dropped += factor(i) == 0.0f;
  }
  EXPECT_GT(dropped, 0);
  EXPECT_LT(dropped, elements());
}

template <typename T>
void ReluDropout::expect_gradients_pass() {
  const auto x = noise<T>(elements()), dy = noise<T>(elements());
  std::vector<T> dz(elements(), stored<T>(NAN));
  relu_dropout_backward({.dtype = kDType<T>,
                         .x = x.data(),
                         .gamma = gamma_.data(),
                         .beta = beta_.data(),
                         .mean = mean_.data(),
                         .rstd = rstd_.data(),
                         .dy = dy.data(),
                         .images = kImages,
                         .positions = kPositions,
                         .channels = channels_,
                         .dropout = dropout_},
                        dz.data(), queue_);
  for (int64_t i = 0; i < elements(); ++i) {
    const int64_t c = i % channels_;
    const double z = (double{as_float(x[i])} - mean_[c]) * rstd_[c] * gamma_[c] + beta_[c];
    if (std::abs(z) < 1e-5) continue;  // rounding decides
    const T want = stored<T>(z > 0.0 ? factor(i) * as_float(dy[i]) : 0.0f);
    ASSERT_EQ(as_float(dz[i]), as_float(want)) << "at " << i;
  }
}

TEST_P(ReluDropout, PassesPositiveValuesOfKeptChannels) {
  expect_values_pass<float>();
  expect_values_pass<bf16>();
}

TEST_P(ReluDropout, PassesGradientsWhereBatchNormGavePositiveValues) {
  expect_gradients_pass<float>();
  expect_gradients_pass<bf16>();
}

INSTANTIATE_TEST_SUITE_P(Channels, ReluDropout, testing::Values(1, 6, 33, 260, 1032));

}  // namespace
}  // namespace scrawl::simt
