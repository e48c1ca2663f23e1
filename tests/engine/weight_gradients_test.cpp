#include "engine/weight_gradients.h"

#include <gtest/gtest.h>

#include "engine/ops.h"
#include "tests/engine/leaf.h"

namespace scrawl {
namespace {

class WeightGradientsTest : public ::testing::Test {
 protected:
  /// Layers from one value to one, all of the same input x with gradient `slope` of the output.
  Tensor layer(const Tensor& weight, float slope) {
    return scaled(ops::linear(tape_, x_, weight, bias_), slope);
  }
  Tensor scaled(const Tensor& y, float slope) {
    Tensor loss = Tensor::zeros(device_, {1});
    const Tensor dy = Tensor::from(device_, y.shape(), std::vector<float>(y.elements(), slope));
    tape_.record_loss(loss, {&y},
                      [this, slot = y.gradient(), dy](float) { pass_gradient(device_, slot, dy); });
    return loss;
  }
  /// How often the products of a group were launched.
  int64_t launches() const {
    int64_t calls = 0;
    for (const auto& [key, entry] : profiler_.entries())
      if (key.kernel == "linear.backward_weight") calls += entry.calls;
    return calls;
  }
  static float gradient_of(const Tensor& x) { return x.gradient()->value.to_host()[0]; }

  Device device_{{.threads = 1}};
  Profiler profiler_;
  Tape tape_{device_, Tape::Mode::train};
  const Tensor x_ = leaf(device_, {2, 1}, {3.0f, 5.0f});
  const Tensor weight_ = leaf(device_, {1, 1}, {2.0f}), other_ = leaf(device_, {1, 1}, {3.0f});
  const Tensor bias_ = leaf(device_, {1}, {0.0f});
};

TEST_F(WeightGradientsTest, GoTogether) {
  const Tensor first = layer(weight_, 1.0f);
  const Tensor second = scaled(ops::linear(tape_, x_, other_, {}), 10.0f);
  device_.attach(&profiler_);
  tape_.backward(ops::weighted_sum(tape_, {{first, 1.0f}, {second, 1.0f}}));
  device_.attach(nullptr);
  EXPECT_EQ(launches(), 1);
  EXPECT_EQ(gradient_of(weight_), 8.0f);
  EXPECT_EQ(gradient_of(other_), 80.0f);
  EXPECT_EQ(gradient_of(bias_), 2.0f);
}

// Neither a weight nor a bias may be written by two products of a group.
TEST_F(WeightGradientsTest, OfOneLayerAddUp) {
  const Tensor first = layer(weight_, 1.0f), again = layer(weight_, 10.0f),
               shares_bias = layer(other_, 100.0f);
  device_.attach(&profiler_);
  tape_.backward(ops::weighted_sum(tape_, {{first, 1.0f}, {again, 1.0f}, {shares_bias, 1.0f}}));
  device_.attach(nullptr);
  EXPECT_EQ(launches(), 3);
  EXPECT_EQ(gradient_of(weight_), 88.0f);
  EXPECT_EQ(gradient_of(other_), 800.0f);
  EXPECT_EQ(gradient_of(bias_), 222.0f);
}

TEST_F(WeightGradientsTest, AreUnderWayAtMarks) {
  const Tensor first = layer(weight_, 1.0f);
  tape_.mark();
  const Tensor second = layer(other_, 10.0f);
  int pending = -1;
  float gradient = 0.0f;
  tape_.at_marks([&] {
    pending = other_.gradient()->pending;
    gradient = gradient_of(other_);
  });
  const Tensor loss = ops::weighted_sum(tape_, {{second, 1.0f}});
  tape_.backward(loss);
  EXPECT_EQ(pending, 0);
  EXPECT_EQ(gradient, 80.0f);
  static_cast<void>(first);
}

TEST_F(WeightGradientsTest, DoNotHoldMuchMemory) {
  constexpr int64_t kRows = int64_t{1} << 22;  // 16 MiB each of x and dy
  WeightGradients gradients(device_);
  gradients.add(Tensor::zeros(device_, {kRows, 1}), Tensor::zeros(device_, {kRows, 1}), weight_, nullptr);
  EXPECT_EQ(weight_.gradient()->pending, 0);
  device_.join();
  EXPECT_LT(device_.memory().statistics().in_use, kRows);
}

}  // namespace
}  // namespace scrawl
