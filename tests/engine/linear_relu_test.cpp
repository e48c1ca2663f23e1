// Who sets the gradient of ReLU's output to zero where that was zero: its consumer, or else ReLU itself.
#include <gtest/gtest.h>

#include "engine/ops.h"
#include "tests/engine/leaf.h"
#include "tests/engine/simple_ops.h"

namespace scrawl {
namespace {

using Values = std::vector<float>;

Values gradient_of(const Tensor& x) {
  return x.gradient()->value.to_host();
}

class LinearReluTest : public ::testing::Test {
 protected:
  LinearReluTest() { device_.attach(&profiler_); }
  ~LinearReluTest() override {
    device_.attach(nullptr);
    EXPECT_EQ(device_.memory().damage(), "");
  }

  /// [3 0; 0 5].
  Tensor rectified() { return ops::linear_relu(tape_, x_, weight_, bias_); }
  /// Sends [a b; a b] · `slope` back to y.
  Tensor by_layer(const Tensor& y, float slope) {
    return dot(tape_, ops::linear(tape_, y, next_, {}), {slope, slope});
  }
  /// The same by an operation that has no gate.
  Tensor by_other(const Tensor& y, float slope) {
    return dot(tape_, y, {10 * slope, 100 * slope, 10 * slope, 100 * slope});
  }
  void backward(const std::vector<Tensor>& losses) {
    std::vector<ops::Term> terms;
    for (const Tensor& loss : losses) terms.push_back({loss, 1.0f});
    tape_.backward(ops::weighted_sum(tape_, terms));
  }
  /// That [10 0; 0 100] · `slope` has gone back through the layer.
  void expect_gradients(float slope) {
    EXPECT_EQ(gradient_of(x_), (Values{10 * slope, -100 * slope}));
    EXPECT_EQ(gradient_of(weight_), (Values{30 * slope, -500 * slope}));
    EXPECT_EQ(gradient_of(bias_), (Values{10 * slope, 100 * slope}));
  }
  int64_t calls_of(std::string_view kernel) const {
    int64_t calls = 0;
    for (const auto& [key, entry] : profiler_.entries())
      if (key.kernel == kernel) calls += entry.calls;
    return calls;
  }
  int64_t passes() const { return calls_of("relu.backward"); }

  Device device_{{.threads = 1, .guard_memory = true}};
  Profiler profiler_;
  Tape tape_{device_, Tape::Mode::train};
  const Tensor x_ = leaf(device_, {2, 1}, {3.0f, -5.0f});
  const Tensor weight_ = leaf(device_, {2, 1}, {1.0f, -1.0f}), bias_ = leaf(device_, {2}, {0.0f, 0.0f});
  const Tensor next_ = leaf(device_, {1, 2}, {10.0f, 100.0f});
};

TEST_F(LinearReluTest, TheLayerBehindAppliesTheGate) {
  const Tensor y = rectified();
  EXPECT_EQ(y.to_host(), (Values{3.0f, 0.0f, 0.0f, 5.0f}));
  backward({by_layer(y.reshape({2, 1, 2}), 1.0f)});
  expect_gradients(1.0f);
  EXPECT_EQ(gradient_of(next_), (Values{3.0f, 5.0f}));
  EXPECT_EQ(passes(), 0);
}

TEST_F(LinearReluTest, AppliesTheGateItselfWhereTheOperationBehindCannot) {
  backward({by_other(rectified(), 1.0f)});
  expect_gradients(1.0f);
  EXPECT_EQ(passes(), 1);
}

TEST_F(LinearReluTest, AppliesTheGateToTheSumOfSeveralGradients) {
  const Tensor y = rectified();
  backward({by_layer(y, 1.0f), by_other(y, 2.0f), by_layer(y, 4.0f)});
  expect_gradients(7.0f);
  EXPECT_EQ(passes(), 1);
}

TEST_F(LinearReluTest, InWhateverOrderTheyCome) {
  const Tensor y = rectified();
  backward({by_other(y, 1.0f), by_layer(y, 2.0f)});
  expect_gradients(3.0f);
  EXPECT_EQ(passes(), 1);
}

// What flows in later is not gated by who was alone at first.
TEST_F(LinearReluTest, AppliesTheGateAgainWhereMoreFlowsInAfterwards) {
  for (const bool by_a_layer : {false, true}) {
    const Tensor y = rectified();
    const size_t branch = tape_.position();
    tape_.backward(by_layer(y, 1.0f), 1.0f, branch);
    EXPECT_EQ(gradient_of(y), (Values{10.0f, 0.0f, 0.0f, 100.0f}));
    backward({by_a_layer ? by_layer(y, 2.0f) : by_other(y, 2.0f)});
    expect_gradients(by_a_layer ? 6.0f : 3.0f);
    EXPECT_EQ(passes(), by_a_layer ? 2 : 1);
  }
}

TEST_F(LinearReluTest, OperationsThatDidNotReachTheLossCountAsUsesNoMore) {
  const Tensor y = rectified();
  const Tensor loss = by_layer(y, 1.0f);
  const Tensor dead_end = by_other(y, 2.0f);
  tape_.backward(loss);
  expect_gradients(1.0f);
  EXPECT_EQ(passes(), 0);
  static_cast<void>(dead_end);
}

TEST_F(LinearReluTest, LendsTheGatedGradientToTheAddend) {
  const Tensor addend = leaf(device_, {2, 2}, {1.0f, 2.0f, 3.0f, -4.0f});
  for (const bool by_a_layer : {false, true}) {
    const Tensor y = ops::linear_add_relu(tape_, x_, weight_, bias_, addend);
    EXPECT_EQ(y.to_host(), (Values{4.0f, 0.0f, 0.0f, 1.0f}));
    backward({by_a_layer ? by_layer(y, 2.0f) : by_other(y, 1.0f)});
    expect_gradients(by_a_layer ? 3.0f : 1.0f);
    const float sum = by_a_layer ? 3.0f : 1.0f;
    EXPECT_EQ(gradient_of(addend), (Values{10 * sum, 0.0f, 0.0f, 100 * sum}));
    EXPECT_EQ(passes(), 1);
  }
}

// As behind feature augmentation, where nobody keeps what ReLU yields.
TEST_F(LinearReluTest, AClassifiersGradientTakesTheMemoryOfWhatNobodyElseLooksAt) {
  const Tensor addend = leaf(device_, {2, 2}, {1.0f, 2.0f, 3.0f, -4.0f});
  const auto loss = [&] { return by_layer(ops::linear_add_relu(tape_, x_, weight_, bias_, addend), 2.0f); };
  backward({loss()});
  expect_gradients(2.0f);
  EXPECT_EQ(gradient_of(addend), (Values{20.0f, 0.0f, 0.0f, 200.0f}));
  EXPECT_EQ(gradient_of(next_), (Values{8.0f, 2.0f}));
  EXPECT_EQ(calls_of("linear.backward"), 1);
  EXPECT_EQ(passes(), 0);
}

TEST_F(LinearReluTest, ItsWeightsGradientIsNotAddedToBesideOthers) {
  const auto loss = [&](const Tensor& y) { return by_layer(y, 1.0f); };
  const Tensor kept = rectified();
  const Tensor first = loss(rectified());
  backward({first, loss(kept)});  // the latter goes back first, and its weight's gradient beside
  EXPECT_EQ(gradient_of(next_), (Values{6.0f, 10.0f}));
  EXPECT_EQ(calls_of("linear.backward"), 0);
}

// As in feature augmentation: the weight's gradient still needs what the addend was lent.
TEST_F(LinearReluTest, AnotherLayerAddsToTheLentGradientElsewhere) {
  const Tensor f = leaf(device_, {2, 2}, {1.0f, 2.0f, 3.0f, -4.0f});
  const Tensor square = leaf(device_, {2, 2}, {1.0f, 0.0f, 1.0f, 1.0f});
  const Tensor y = ops::linear_add_relu(tape_, ops::linear(tape_, f, square, {}), square, {}, f);
  EXPECT_EQ(y.to_host(), (Values{2.0f, 6.0f, 6.0f, 0.0f}));
  backward({by_layer(y, 1.0f)});
  EXPECT_EQ(gradient_of(f), (Values{10.0f + 210.0f, 100.0f + 100.0f, 10.0f + 10.0f, 0.0f}));
  EXPECT_EQ(calls_of("cast"), 0);
}

TEST_F(LinearReluTest, AddsItsOwnInput) {
  const Tensor square = leaf(device_, {1, 1}, {-2.0f});
  const Tensor y = ops::linear_add_relu(tape_, x_, square, {}, x_);  // −x, rectified
  EXPECT_EQ(y.to_host(), (Values{0.0f, 5.0f}));
  backward({dot(tape_, y, {10.0f, 100.0f})});
  EXPECT_EQ(gradient_of(x_), (Values{0.0f, -100.0f}));
  EXPECT_EQ(gradient_of(square), Values{-500.0f});
}

TEST_F(LinearReluTest, GivesConstantsNoGradient) {
  const Tensor constant = Tensor::from(device_, {2, 1}, Values{3.0f, -5.0f});
  const Tensor y = ops::linear_relu(tape_, constant, weight_, bias_);
  backward({by_layer(y, 1.0f)});
  EXPECT_EQ(gradient_of(weight_), (Values{30.0f, -500.0f}));
  const Tensor fixed = Tensor::from(device_, {1, 1}, Values{1.0f});
  EXPECT_EQ(ops::linear_relu(tape_, constant, fixed, {}).gradient(), nullptr);
}

}  // namespace
}  // namespace scrawl
