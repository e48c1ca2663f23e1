#include "engine/recomputation.h"

#include <gtest/gtest.h>

#include "engine/ops.h"
#include "tests/engine/leaf.h"

namespace scrawl {
namespace {

std::vector<float> gradient_of(const Tensor& x) {
  return x.gradient()->value.to_host();
}

class RecomputationTest : public ::testing::Test {
 protected:
  ~RecomputationTest() override { EXPECT_EQ(device_.memory().damage(), ""); }

  int64_t in_use() { return device_.memory().statistics().in_use; }

  /// x as an operation that yields its values again while it goes back; `wanted_` says whether that was
  /// wanted.
  Tensor computed_again(const Tensor& x) {
    Tensor y = Tensor::from(device_, x.shape(), x.to_host());
    const auto recomputation = std::make_shared<Recomputation>();
    tape_.record(y, {&x}, [this, x, recomputation](const Tensor& dy) {
      pass_gradient(device_, x.gradient(), dy);
      wanted_ = recomputation->wanted();
      EXPECT_EQ(recomputation->wanted_like(x).defined(), wanted_);
      recomputation->arrive(x);
      EXPECT_FALSE(recomputation->wanted());
    });
    y.set_recomputation(recomputation);
    return y;
  }

  /// Σ weights · x, which can yield the sum of x's gradient over rows, if one is given.
  Tensor summing(const Tensor& x, const std::vector<float>& weights, const std::vector<float>& sum = {}) {
    Tensor loss = Tensor::zeros(device_, {1});
    const Tensor cotangent = Tensor::from(device_, x.shape(), weights);
    tape_.record_loss(loss, {&x}, [this, slot = x.gradient(), cotangent, sum](float) {
      const auto to = sum.empty() ? GradientTarget{} : row_sum_target(device_, slot, cotangent.dim(-1));
      yields_ |= to.data != nullptr;
      if (to.data) device_.upload(to.data, sum.data(), sum.size() * sizeof(float));
      pass_gradient(device_, slot, cotangent);
    });
    return loss;
  }

  Device device_{{.threads = 1, .guard_memory = true}};
  Tape tape_{device_, Tape::Mode::train};
  bool wanted_ = false, yields_ = false;
  const Tensor x_ = leaf(device_, {2, 1}, {3.0f, 5.0f});
  const Tensor weight_ = leaf(device_, {1, 1}, {2.0f}), bias_ = leaf(device_, {1}, {0.0f});
};

TEST_F(RecomputationTest, WeightGradientsWaitForValuesThatNobodyKept) {
  Tensor y = computed_again(x_);
  const Tensor z = ops::linear(tape_, y, weight_, bias_);
  const int64_t before = in_use(), bytes = 256;
  y = {};
  EXPECT_EQ(in_use(), before - bytes) << "the linear layer must not keep its input";
  tape_.backward(summing(z, {10.0f, 100.0f}));
  EXPECT_TRUE(wanted_);
  EXPECT_EQ(gradient_of(weight_), std::vector<float>{530.0f});
  EXPECT_EQ(gradient_of(x_), (std::vector<float>{20.0f, 200.0f}));
}

TEST_F(RecomputationTest, IsNotWantedWhereSomebodyKeepsTheValues) {
  const Tensor y = computed_again(x_);
  tape_.backward(summing(ops::linear(tape_, y, weight_, bias_).reshape({1, 2}), {10.0f, 100.0f}));
  EXPECT_FALSE(wanted_);
  EXPECT_EQ(gradient_of(weight_), std::vector<float>{530.0f});
}

TEST_F(RecomputationTest, ConvolutionsWaitToo) {
  const Tensor map = leaf(device_, {1, 1, 2, 1}, {3.0f, 5.0f}), kernel = leaf(device_, {1, 1, 1, 1}, {2.0f});
  const Tensor z = ops::convolution(tape_, computed_again(map), kernel, bias_, 1, 0);
  tape_.backward(summing(z, {10.0f, 100.0f}));
  EXPECT_TRUE(wanted_);
  EXPECT_EQ(gradient_of(kernel), std::vector<float>{530.0f});
  EXPECT_EQ(gradient_of(bias_), std::vector<float>{110.0f});
  EXPECT_EQ(gradient_of(map), (std::vector<float>{20.0f, 200.0f}));
}

TEST_F(RecomputationTest, AGradientThatWaitsIsPending) {
  Tensor y = computed_again(x_);
  tape_.mark();
  const Tensor z = ops::linear(tape_, y, weight_, bias_);
  y = {};
  int at_mark = 0;
  tape_.at_marks([&] { at_mark = weight_.gradient()->pending; });
  tape_.backward(summing(z, {10.0f, 100.0f}));
  EXPECT_EQ(at_mark, 1) << "the layer has gone back, but not its weight's gradient";
  EXPECT_EQ(weight_.gradient()->pending, 0);
}

// The first layer's input is gone and comes back last; the second must not find its weight's gradient
// written.
TEST_F(RecomputationTest, AddsUpAWeightsGradientsInTheOrderInWhichTheyAreComputed) {
  const Tensor first = ops::linear(tape_, x_, weight_, bias_);
  const Tensor second = ops::linear(tape_, computed_again(x_), weight_, bias_);
  tape_.backward(ops::weighted_sum(
      tape_, {{summing(first, {10.0f, 100.0f}), 1.0f}, {summing(second, {1000.0f, 10000.0f}), 1.0f}}));
  EXPECT_EQ(gradient_of(weight_), std::vector<float>{53530.0f});
  EXPECT_EQ(gradient_of(bias_), std::vector<float>{11110.0f});
}

TEST_F(RecomputationTest, TheSumOfAGradientComesFromWhoComputesIt) {
  tape_.backward(summing(ops::linear(tape_, x_, weight_, bias_), {10.0f, 100.0f}, {7.0f}));
  EXPECT_TRUE(yields_);
  EXPECT_EQ(gradient_of(bias_), std::vector<float>{7.0f}) << "and from nobody else";
  EXPECT_EQ(gradient_of(weight_), std::vector<float>{530.0f});
}

TEST_F(RecomputationTest, TheSumIsTakenFromTheGradientWhereSeveralFlowTogether) {
  const Tensor z = ops::linear(tape_, x_, weight_, bias_);
  tape_.backward(ops::weighted_sum(
      tape_, {{summing(z, {10.0f, 100.0f}, {7.0f}), 1.0f}, {summing(z, {1.0f, 2.0f}, {7.0f}), 1.0f}}));
  EXPECT_FALSE(yields_);
  EXPECT_EQ(gradient_of(bias_), std::vector<float>{113.0f});
}

// A sum on this lane must not race with what has gone aside for the same bias.
TEST_F(RecomputationTest, RefusesAShareThatComesBehindTheSum) {
  const Tensor y = ops::linear(tape_, x_, weight_, bias_);
  const size_t branch = tape_.position();
  tape_.backward(summing(y, {10.0f, 100.0f}, {110.0f}), 1.0f, branch);
  ASSERT_TRUE(yields_);
  const Tensor late = summing(y, {1.0f, 2.0f});
  EXPECT_THROW(tape_.backward(late), std::invalid_argument);
}

TEST_F(RecomputationTest, TheSumGoesAsideWhereAnotherOfTheSameBiasHasGone) {
  const Tensor first = ops::linear(tape_, x_, weight_, bias_),
               second = ops::linear(tape_, x_, weight_, bias_);
  const Tensor loss_of_first = summing(first, {10.0f, 100.0f}, {7.0f});
  tape_.backward(ops::weighted_sum(tape_, {{loss_of_first, 1.0f}, {summing(second, {1.0f, 2.0f}), 1.0f}}));
  EXPECT_TRUE(yields_) << "the second layer has not gone back yet";
  EXPECT_EQ(gradient_of(bias_), std::vector<float>{10.0f});

  const Tensor third = ops::linear(tape_, x_, weight_, bias_);
  yields_ = false;
  tape_.backward(summing(third, {10.0f, 100.0f}, {7.0f}));
  EXPECT_FALSE(yields_) << "the bias's gradient goes on from there, and some of it went aside";
  EXPECT_EQ(gradient_of(bias_), std::vector<float>{120.0f});
}

// The bias's gradient has begun when the weight's begins: the first layer's weight gradient waits.
TEST_F(RecomputationTest, AddsToABiassGradientBesideAWeightsThatBegins) {
  const Tensor first = ops::linear(tape_, computed_again(x_), weight_, bias_);
  const Tensor second = ops::linear(tape_, x_, weight_, bias_);
  const Tensor loss_of_second = summing(second, {1.0f, 2.0f});
  tape_.backward(
      ops::weighted_sum(tape_, {{summing(first, {10.0f, 100.0f}, {7.0f}), 1.0f}, {loss_of_second, 1.0f}}));
  EXPECT_TRUE(yields_);
  EXPECT_EQ(gradient_of(weight_), std::vector<float>{543.0f});
  EXPECT_EQ(gradient_of(bias_), std::vector<float>{10.0f});
}

TEST(DeviceAside, KeepsWhatWasCapturedUntilMuchMoreGoesAsideOrAllIsJoined) {
  Device device;
  const auto token = std::make_shared<int>(0);
  device.aside([token] {});
  for (size_t more = 1; more < Device::kMostAside; ++more) device.aside([] {});
  EXPECT_EQ(token.use_count(), 2);
  device.aside([] {});
  EXPECT_EQ(token.use_count(), 1);
  device.aside([token] {});
  device.join();
  EXPECT_EQ(token.use_count(), 1);
}

TEST(DeviceAside, IsJoinedInOrder) {
  Device device;
  const auto first = std::make_shared<int>(0), second = std::make_shared<int>(0);
  const Device::Aside one = device.aside([first] {}), two = device.aside([second] {});
  device.join(one);
  EXPECT_EQ(first.use_count(), 1);
  EXPECT_EQ(second.use_count(), 2);
  const Device::Aside three = device.aside([first] {});
  device.join(one);
  EXPECT_EQ(first.use_count(), 2) << "joined long ago";
  device.join(two);
  device.join(three);
  EXPECT_EQ(first.use_count() + second.use_count(), 2);
}

TEST(DeviceAside, GivesUpWhatWasCapturedBeforeMemoryGrows) {
  constexpr int64_t kFloats = int64_t{16} << 20;  // more than a segment has at least
  Device device;
  const Allocator::Statistics& memory = device.memory().statistics();
  device.aside([x = Tensor(device, {kFloats})] {});
  const auto before = memory;
  const Tensor y(device, {kFloats});
  EXPECT_EQ(memory.peak, before.peak);
  EXPECT_EQ(memory.reserved, before.reserved);
  device.aside([&, x = Tensor(device, {kFloats})] {
    const int64_t with_x = memory.peak;
    const Tensor z(device, {kFloats});
    EXPECT_GT(memory.peak, with_x) << "what is being launched keeps its own";
  });
}

}  // namespace
}  // namespace scrawl
