#include "engine/tape.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>
#include <string_view>
#include <utility>

#include "engine/ops.h"
#include "tests/engine/leaf.h"
#include "tests/engine/simple_ops.h"

namespace scrawl {
namespace {

class TapeTest : public ::testing::Test {
 protected:
  ~TapeTest() override { EXPECT_EQ(device_.memory().damage(), ""); }

  Device device_{{.threads = 1, .guard_memory = true}};
  Tape tape_{device_, Tape::Mode::train};
};

TEST_F(TapeTest, AddsGradientsOfATensorThatSeveralOperationsUse) {
  const Tensor x = leaf(device_, {1, 2}, {1.0f, 2.0f});
  const Tensor twice = sum_of(tape_, x, x);
  const Tensor thrice = sum_of(tape_, twice, x);
  tape_.backward(dot(tape_, thrice, {10.0f, 100.0f}));
  EXPECT_EQ(x.gradient()->value.to_host(), (std::vector<float>{30.0f, 300.0f}));
}

// Branches of a sum first share one gradient's memory; whoever adds to it must take a copy.
TEST_F(TapeTest, CopiesSharedGradientsBeforeAddingToThem) {
  const Tensor x = leaf(device_, {1, 1}, {3.0f}), other = leaf(device_, {1, 1}, {5.0f});
  const Tensor positive = copy_of(tape_, x);
  const Tensor sum = sum_of(tape_, positive, other);  // lends its gradient to both
  const Tensor total = sum_of(tape_, sum, positive);  // and adds to one
  tape_.backward(dot(tape_, total, {7.0f}));
  EXPECT_EQ(x.gradient()->value.to_host(), std::vector<float>{14.0f});
  EXPECT_EQ(other.gradient()->value.to_host(), std::vector<float>{7.0f});
}

TEST_F(TapeTest, GoesBackFromOneLossAheadOfTheRest) {
  const Tensor x = leaf(device_, {1}, {3.0f});
  const Tensor y = copy_of(tape_, x);
  const size_t branch = tape_.position();
  tape_.backward(ops::weighted_sum(tape_, {{as_loss(tape_, y), 2.0f}}), 10.0f, branch);
  EXPECT_EQ(tape_.position(), branch);
  EXPECT_FALSE(x.gradient()->written) << "y waits for the rest";
  tape_.backward(ops::weighted_sum(tape_, {{as_loss(tape_, y), 100.0f}}));
  EXPECT_EQ(x.gradient()->value.to_host(), std::vector<float>{120.0f});
}

TEST_F(TapeTest, CallsAtMarksOnTheWayBack) {
  const Tensor x = leaf(device_, {1}, {3.0f});
  const auto slot = x.gradient();
  std::vector<std::pair<bool, int>> seen;  // whether x has its gradient, uses of it to come
  tape_.at_marks([&] { seen.emplace_back(slot->written, slot->pending); });
  const Tensor y = copy_of(tape_, x);
  tape_.mark();
  const Tensor z = sum_of(tape_, y, x);
  tape_.mark();
  const Tensor loss = ops::weighted_sum(tape_, {{as_loss(tape_, z), 1.0f}});
  EXPECT_EQ(slot->pending, 2);
  tape_.backward(loss);
  EXPECT_EQ(seen, (std::vector<std::pair<bool, int>>{{false, 2}, {true, 1}}));
  EXPECT_EQ(slot->pending, 0);
}

TEST_F(TapeTest, DoesNotChangeALentGradientOfTheCaller) {
  const auto slot = std::make_shared<Gradient>();
  const Tensor dy = Tensor::from(device_, {2}, std::vector<float>{1.0f, 2.0f});
  pass_gradient(device_, slot, dy);
  EXPECT_EQ(slot->value.raw(), dy.raw()) << "the first gradient is passed without a copy";
  pass_gradient(device_, slot, dy);
  EXPECT_EQ(slot->value.to_host(), (std::vector<float>{2.0f, 4.0f}));
  EXPECT_EQ(dy.to_host(), (std::vector<float>{1.0f, 2.0f}));
}

TEST_F(TapeTest, WritesIntoMemoryThatASlotBrings) {
  const auto slot = std::make_shared<Gradient>();
  slot->value = Tensor(device_, {2});  // NaN, as guarded memory is
  void* place = slot->value.raw();
  const Tensor dy = Tensor::from(device_, {2}, std::vector<float>{1.0f, 2.0f});
  pass_gradient(device_, slot, dy);
  EXPECT_EQ(slot->value.raw(), place);
  EXPECT_EQ(slot->value.to_host(), (std::vector<float>{1.0f, 2.0f}));
}

TEST_F(TapeTest, ViewsShareTheirGradient) {
  const Tensor x = leaf(device_, {2, 2}, {1.0f, 2.0f, 3.0f, 4.0f});
  const Tensor y = copy_of(tape_, x.reshape({4})).reshape({1, 2, 2});
  tape_.backward(dot(tape_, y, {1.0f, 2.0f, 3.0f, 4.0f}));
  EXPECT_EQ(x.gradient()->value.to_host(), (std::vector<float>{1.0f, 2.0f, 3.0f, 4.0f}));
}

TEST_F(TapeTest, WalksAChainOfAHundredThousandOperations) {
  const Tensor x = leaf(device_, {1, 1}, {1.0f});
  Tensor y = x;
  for (int i = 0; i < 100000; ++i) y = copy_of(tape_, y);
  const Tensor loss = dot(tape_, y, {2.0f});
  y = {};
  tape_.backward(loss);
  EXPECT_EQ(x.gradient()->value.to_host(), std::vector<float>{2.0f});
}

TEST_F(TapeTest, SkipsWhatDidNotReachTheLoss) {
  const Tensor x = leaf(device_, {1}, {1.0f}), unused = leaf(device_, {1}, {1.0f});
  const Tensor y = copy_of(tape_, x);
  Tensor dead_end = copy_of(tape_, unused);
  int walked = 0;
  Tensor never = Tensor::zeros(device_, {1});
  tape_.record(never, {&dead_end}, [&](const Tensor&) { ++walked; });
  tape_.backward(dot(tape_, y, {1.0f}));
  EXPECT_EQ(walked, 0);
  EXPECT_FALSE(unused.gradient()->written);
  EXPECT_TRUE(x.gradient()->written);
}

TEST_F(TapeTest, GivesConstantsNoGradient) {
  const Tensor x = leaf(device_, {1, 1}, {1.0f}), constant = Tensor::from(device_, {1, 1}, std::vector{2.0f});
  const Tensor of_constant = copy_of(tape_, constant);
  EXPECT_EQ(of_constant.gradient(), nullptr);
  tape_.backward(dot(tape_, sum_of(tape_, x, of_constant), {1.0f}));
  EXPECT_EQ(constant.gradient(), nullptr);
  EXPECT_EQ(x.gradient()->value.to_host(), std::vector<float>{1.0f});
}

/// What came back to an operation with two outputs; empty where no gradient did.
struct Received {
  int calls = 0;
  std::vector<float> dy, dz;
};

std::pair<Tensor, Tensor> two_outputs(Tape& tape, const Tensor& x, Received& received) {
  Tensor y = Tensor::zeros(tape.device(), {1, 2}), z = Tensor::zeros(tape.device(), {3});
  tape.record(y, z, {&x}, [&received](const Tensor& dy, const Tensor& dz) {
    ++received.calls;
    if (dy.defined()) received.dy = dy.to_host();
    if (dz.defined()) received.dz = dz.to_host();
  });
  return {y, z};
}

TEST_F(TapeTest, GivesAnOperationTheGradientsOfBothOutputsAtOnce) {
  Received received;
  const auto [y, z] = two_outputs(tape_, leaf(device_, {1}, {1.0f}), received);
  const Tensor of_z = dot(tape_, z, {3.0f, 4.0f, 5.0f}), of_y = dot(tape_, y.reshape({2}), {1.0f, 2.0f});
  tape_.backward(ops::weighted_sum(tape_, {{of_y, 1.0f}, {of_z, 1.0f}}));
  EXPECT_EQ(received.calls, 1);
  EXPECT_EQ(received.dy, (std::vector<float>{1.0f, 2.0f}));
  EXPECT_EQ(received.dz, (std::vector<float>{3.0f, 4.0f, 5.0f}));
  EXPECT_FALSE(y.gradient()->value.defined()) << "gradients are let go once they are used";
  EXPECT_FALSE(z.gradient()->value.defined());
}

TEST_F(TapeTest, AnOutputThatDidNotReachTheLossHasNoGradient) {
  Received first, second, neither;
  const Tensor x = leaf(device_, {1}, {1.0f});
  const Tensor y = two_outputs(tape_, x, first).first, z = two_outputs(tape_, x, second).second;
  two_outputs(tape_, x, neither);
  const Tensor of_y = dot(tape_, y, {1.0f, 2.0f}), of_z = dot(tape_, z, {3.0f, 4.0f, 5.0f});
  tape_.backward(ops::weighted_sum(tape_, {{of_y, 1.0f}, {of_z, 1.0f}}));
  EXPECT_EQ(first.dy, (std::vector<float>{1.0f, 2.0f}));
  EXPECT_TRUE(first.dz.empty());
  EXPECT_TRUE(second.dy.empty());
  EXPECT_EQ(second.dz, (std::vector<float>{3.0f, 4.0f, 5.0f}));
  EXPECT_EQ(neither.calls, 0);
}

TEST_F(TapeTest, TwoOutputsOfConstantsHaveNoGradient) {
  Received received;
  const auto [y, z] = two_outputs(tape_, Tensor::zeros(device_, {1}), received);
  EXPECT_EQ(y.gradient(), nullptr);
  EXPECT_EQ(z.gradient(), nullptr);
}

// A residual sum writes its gradient over that of the next one, if nobody else holds that.
TEST_F(TapeTest, ResidualSumsLeaveGradientsAloneThatOthersHold) {
  const Tensor gamma = Tensor::from(device_, {2}, std::vector{1.0f, 1.0f}),
               beta = Tensor::zeros(device_, {2});
  const Tensor x = leaf(device_, {1, 2}, {1.0f, -1.0f}), branch = leaf(device_, {1, 2}, {3.0f, 4.0f}),
               other = leaf(device_, {1, 2}, {7.0f, 11.0f});
  const auto norm = [&](const Tensor& a, const Tensor& b) {
    return ops::residual_norm(tape_, a, {b}, 0.0f, gamma, beta, 1e-5f);
  };
  const auto [sum, normed] = norm(x, branch);
  const auto [next, unused] = norm(sum, other);  // lends its gradient to `sum` and `other`
  // Of two channels a norm makes ±1, whatever they are: nearly no gradient.
  tape_.backward(ops::weighted_sum(
      tape_, {{dot(tape_, next, {10.0f, 100.0f}), 1.0f}, {dot(tape_, normed, {1000.0f, -1000.0f}), 1.0f}}));
  EXPECT_EQ(other.gradient()->value.to_host(), (std::vector<float>{10.0f, 100.0f}));
  const std::vector<float> dx = x.gradient()->value.to_host();
  EXPECT_NE(dx, (std::vector<float>{10.0f, 100.0f})) << "nothing came through the norm";
  EXPECT_NEAR(dx[0], 10.0f, 1.0f);
  EXPECT_NEAR(dx[1], 100.0f, 1.0f);
  EXPECT_EQ(branch.gradient()->value.to_host(), dx);
  EXPECT_EQ(branch.gradient()->value.raw(), x.gradient()->value.raw()) << "they share one memory";
}

TEST_F(TapeTest, ANormTakesTheInputGradientOfTheLayerBehindItAlong) {
  const Tensor gamma = Tensor::from(device_, {2}, std::vector{1.0f, 1.0f}),
               beta = Tensor::zeros(device_, {2});
  const Tensor weight = leaf(device_, {1, 2}, {5.0f, 7.0f});
  for (const bool shared : {false, true}) {
    const Tensor x = leaf(device_, {1, 2}, {1.0f, -1.0f});
    const Tensor normed = ops::layer_norm(tape_, x, gamma, beta, 1.0f);
    Tensor loss = dot(tape_, ops::linear(tape_, normed, weight, {}), {10.0f});  // sends (50, 70) back
    if (shared)
      loss = ops::weighted_sum(tape_, {{loss, 1.0f}, {dot(tape_, normed, {1000.0f, 3000.0f}), 1.0f}});
    Profiler profiler;
    device_.attach(&profiler);
    tape_.backward(loss);
    device_.attach(nullptr);
    std::set<std::string_view> kernels;
    for (const auto& [key, entry] : profiler.entries()) kernels.insert(key.kernel);
    EXPECT_TRUE(kernels.contains("linear_norm.backward"));
    EXPECT_FALSE(kernels.contains("linear.backward_input"));
    // Of a row of ±1, a quarter of the gradients' difference comes back, times 1/√2.
    const float slope = (shared ? 2020.0f : 20.0f) / 4.0f * std::sqrt(0.5f);
    const std::vector<float> dx = x.gradient()->value.to_host();
    EXPECT_NEAR(dx[0], -slope, 1e-5f * slope);
    EXPECT_NEAR(dx[1], slope, 1e-5f * slope);
  }
}

TEST_F(TapeTest, NormPairsLeaveGradientsAloneThatOthersHold) {
  const Tensor gamma = Tensor::from(device_, {2}, std::vector{1.0f, 1.0f}),
               beta = Tensor::zeros(device_, {2});
  const Tensor x = leaf(device_, {1, 2}, {1.0f, -1.0f}), other = leaf(device_, {1, 2}, {7.0f, 11.0f});
  const auto [sum, normed] = ops::norm_pair(tape_, x, {gamma, beta, 1.0f}, {gamma, beta, 1.0f});
  // Lends its gradient to `sum` and `other`.
  const Tensor next = ops::residual_norm(tape_, sum, {other}, 0.0f, gamma, beta, 1.0f).sum;
  tape_.backward(dot(tape_, next, {10.0f, 100.0f}));
  EXPECT_EQ(other.gradient()->value.to_host(), (std::vector<float>{10.0f, 100.0f}));
  EXPECT_NE(x.gradient()->value.to_host(), (std::vector<float>{10.0f, 100.0f}));
}

TEST_F(TapeTest, RecordsNothingWhenEvaluating) {
  Tape tape(device_, Tape::Mode::evaluate);
  const Tensor y = copy_of(tape, leaf(device_, {1}, {1.0f}));
  EXPECT_EQ(y.gradient(), nullptr);
  EXPECT_THROW(tape.backward(y), std::invalid_argument);
}

TEST_F(TapeTest, ReleasesEveryNodeAndItsMemory) {
  const Tensor x = leaf(device_, {1000}, std::vector<float>(1000, 1.0f));
  const int64_t before = device_.memory().statistics().in_use;
  {
    const Tensor loss = dot(tape_, copy_of(tape_, x), std::vector<float>(1000, 1.0f));
    tape_.backward(loss);
  }
  x.gradient()->value = {};
  EXPECT_EQ(device_.memory().statistics().in_use, before);
}

TEST_F(TapeTest, StartsFromALossOnly) {
  const Tensor x = leaf(device_, {1}, {1.0f});
  EXPECT_THROW(tape_.backward(copy_of(tape_, x)), std::invalid_argument);
  EXPECT_THROW(tape_.backward(Tensor::zeros(device_, {1})), std::invalid_argument);
  Tensor two = Tensor::zeros(device_, {2});
  EXPECT_THROW(tape_.record_loss(two, {&x}, [](float) {}), std::invalid_argument);
}

TEST_F(TapeTest, LossesCountAsTheyAreWeighted) {
  const Tensor x = leaf(device_, {1}, {3.0f}), y = leaf(device_, {1}, {5.0f});
  const Tensor of_x = as_loss(tape_, x), of_y = as_loss(tape_, y);
  const Tensor sum = ops::weighted_sum(tape_, {{of_x, 2.0f}, {of_y, -3.0f}, {of_x.slice(0, {1}), 7.0f}});
  const Tensor total = ops::weighted_sum(tape_, {{sum, 10.0f}, {of_y, 1.0f}, {as_loss(tape_, y), 0.0f}});
  EXPECT_EQ(total.to_host(), std::vector<float>{10.0f * (6.0f - 15.0f + 21.0f) + 5.0f});
  tape_.backward(total, 0.5f);
  EXPECT_EQ(x.gradient()->value.to_host(), std::vector<float>{10.0f});
  EXPECT_EQ(y.gradient()->value.to_host(), std::vector<float>{-14.5f});
}

TEST_F(TapeTest, ALossTakesNoGradientInMemory) {
  const Tensor loss = as_loss(tape_, leaf(device_, {1}, {3.0f}));
  const Tensor dloss = Tensor::zeros(device_, {1});
  EXPECT_THROW(pass_gradient(device_, loss.gradient(), dloss), std::invalid_argument);
  EXPECT_THROW(gradient_target(device_, loss.gradient(), {1}), std::invalid_argument);
}

TEST_F(TapeTest, GivesEveryRandomOperationAStreamOfItsOwn) {
  EXPECT_EQ(tape_.next_random().stream, 0u);
  EXPECT_EQ(tape_.next_random().stream, 1u);
}

}  // namespace
}  // namespace scrawl
