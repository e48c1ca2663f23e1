#include "engine/parameters.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

namespace scrawl {
namespace {

constexpr float kBeta1 = 0.9f, kBeta2 = 0.999f;

std::vector<float> counting(int64_t n) {
  std::vector<float> values(n);
  std::iota(values.begin(), values.end(), 1.0f);
  return values;
}

class ParametersTest : public ::testing::Test {
 protected:
  ~ParametersTest() override { EXPECT_EQ(device_.memory().damage(), ""); }

  /// What a backward pass leaves.
  void set_gradient(Parameter& parameter, const std::vector<float>& values) {
    device_.upload(parameter.value.gradient()->value.raw(), values.data(), parameter.value.bytes());
    parameter.value.gradient()->written = true;
  }

  Tensor step_state(float lr_factor) {
    const StepState state{.lr_factor = lr_factor};
    Tensor tensor(device_, {sizeof(StepState)}, DType::u8);
    device_.upload(tensor.raw(), &state, sizeof state);
    return tensor;
  }

  void update(ActiveGroups active, float lr_factor = 1.0f) {
    const Tensor state = step_state(lr_factor);
    parameters_.update({active, kBeta1, kBeta2, static_cast<const StepState*>(state.raw())});
  }

  Device device_{{.threads = 2, .guard_memory = true}};
  Parameters parameters_;
};

TEST_F(ParametersTest, ConvertsConvolutionsToPyTorchsLayoutAndBack) {
  Parameter& conv =
      parameters_.add({.name = "conv", .shape = {2, 3, 3, 4}, .layout = FileLayout::convolution});
  parameters_.allocate(device_, {{.lr = 1.0f}}, 0);
  EXPECT_EQ(conv.file_shape, (std::vector<int64_t>{2, 4, 3, 3}));
  const HostTensor file = HostTensor::of({2, 4, 3, 3}, counting(72));
  parameters_.from_file(conv, file);
  const std::vector<float> here = conv.value.to_host(), there = file.floats();
  for (int o = 0; o < 2; ++o)
    for (int y = 0; y < 3; ++y)
      for (int x = 0; x < 3; ++x)
        for (int c = 0; c < 4; ++c)
          ASSERT_EQ(here[((o * 3 + y) * 3 + x) * 4 + c], there[((o * 4 + c) * 3 + y) * 3 + x]);
  EXPECT_EQ(parameters_.to_file(conv).bytes, file.bytes);
  EXPECT_EQ(parameters_.to_file(conv).shape, file.shape);
}

TEST_F(ParametersTest, ConvertsDepthwiseWeightsToPyTorchsLayoutAndBack) {
  Parameter& conv = parameters_.add({.name = "dwconv", .shape = {3, 3, 5}, .layout = FileLayout::depthwise});
  parameters_.allocate(device_, {{.lr = 1.0f}}, 0);
  const HostTensor file = HostTensor::of({5, 1, 3, 3}, counting(45));
  parameters_.from_file(conv, file);
  const std::vector<float> here = conv.value.to_host(), there = file.floats();
  for (int y = 0; y < 3; ++y)
    for (int x = 0; x < 3; ++x)
      for (int c = 0; c < 5; ++c) ASSERT_EQ(here[(y * 3 + x) * 5 + c], there[(c * 3 + y) * 3 + x]);
  EXPECT_EQ(parameters_.to_file(conv).bytes, file.bytes);
  set_gradient(conv, here);
  EXPECT_EQ(parameters_.gradient_to_file(conv).bytes, file.bytes);
}

TEST_F(ParametersTest, NamesParameterAndShapesWhenAFileHasAnother) {
  Parameter& weight = parameters_.add({.name = "decoder.weight", .shape = {2, 3}});
  parameters_.allocate(device_, {{.lr = 1.0f}}, 0);
  try {
    parameters_.from_file(weight, HostTensor::of({3, 2}, counting(6)));
    FAIL() << "accepted";
  } catch (const InputError& error) {
    const std::string message = error.what();
    EXPECT_NE(message.find("decoder.weight"), std::string::npos) << message;
    EXPECT_NE(message.find("[3, 2]"), std::string::npos) << message;
    EXPECT_NE(message.find("[2, 3]"), std::string::npos) << message;
  }
}

TEST_F(ParametersTest, LoadsNothingWhenOneTensorIsMissing) {
  Parameter& first = parameters_.add({.name = "first", .shape = {2}, .initial = Initial::constant(5.0f)});
  parameters_.add({.name = "second", .shape = {2}});
  parameters_.allocate(device_, {{.lr = 1.0f}}, 0);
  TensorFile file;
  file.tensors["model.first"] = HostTensor::of({2}, counting(2));
  EXPECT_THROW(parameters_.load(file, "model."), InputError);
  EXPECT_EQ(first.value.to_host(), (std::vector<float>{5.0f, 5.0f}));
}

TEST_F(ParametersTest, LoadsNothingWhenOneTensorHasAnotherShape) {
  Parameter& first = parameters_.add({.name = "first", .shape = {2}, .initial = Initial::constant(5.0f)});
  parameters_.add({.name = "second", .shape = {2}});
  parameters_.allocate(device_, {{.lr = 1.0f}}, 0);
  TensorFile file;
  file.tensors["first"] = HostTensor::of({2}, counting(2));
  file.tensors["second"] = HostTensor::of({3}, counting(3));
  EXPECT_THROW(parameters_.load(file), InputError);
  EXPECT_EQ(first.value.to_host(), (std::vector<float>{5.0f, 5.0f}));
}

TEST_F(ParametersTest, DrawsInitialValuesFromTheSeedAlone) {
  const auto values = [&](uint64_t seed) {
    Parameters parameters;
    parameters.add({.name = "a", .shape = {1000}, .initial = Initial::normal(0.5f)});
    Parameter& b = parameters.add({.name = "b", .shape = {1000}, .initial = Initial::normal(0.5f)});
    parameters.allocate(device_, {{.lr = 1.0f}}, seed);
    EXPECT_NE(parameters.find("a").value.to_host(), b.value.to_host());
    return b.value.to_host();
  };
  EXPECT_EQ(values(1), values(1));
  EXPECT_NE(values(1), values(2));
}

TEST_F(ParametersTest, InitialValuesFollowTheirDistribution) {
  const int64_t n = 20000;
  parameters_.add({.name = "normal", .shape = {n}, .initial = Initial::normal(0.5f)});
  parameters_.add({.name = "truncated", .shape = {n}, .initial = Initial::truncated_normal(2.0f)});
  parameters_.add({.name = "uniform", .shape = {n}, .initial = Initial::uniform(0.25f)});
  parameters_.add({.name = "constant", .shape = {n}, .initial = Initial::constant(3.0f)});
  parameters_.allocate(device_, {{.lr = 1.0f}}, 0);
  const auto largest_and_deviation = [&](const char* name) {
    float largest = 0.0f;
    double squares = 0.0;
    for (float x : parameters_.find(name).value.to_host()) {
      largest = std::max(largest, std::fabs(x));
      squares += x * x / n;
    }
    return std::pair(largest, std::sqrt(squares));
  };
  const auto [normal, normal_deviation] = largest_and_deviation("normal");
  EXPECT_GT(normal, 1.5f);
  EXPECT_NEAR(normal_deviation, 0.5, 0.02);
  const auto [truncated, truncated_deviation] = largest_and_deviation("truncated");
  EXPECT_LE(truncated, 2.0f);
  EXPECT_NEAR(truncated_deviation, 2.0 * 0.5396, 0.04);  // of a normal cut at one deviation
  const auto [uniform, uniform_deviation] = largest_and_deviation("uniform");
  EXPECT_LE(uniform, 0.25f);
  EXPECT_NEAR(uniform_deviation, 0.25 / std::sqrt(3.0), 0.005);
  EXPECT_EQ(parameters_.find("constant").value.to_host(), std::vector<float>(n, 3.0f));
}

TEST_F(ParametersTest, FrozenGroupsAndStateGetNoGradient) {
  Parameter& frozen = parameters_.add({.name = "norm", .shape = {2}, .group = 1});
  Parameter& learnt = parameters_.add({.name = "weight", .shape = {2}, .group = 0});
  Parameter& running = parameters_.add_state("running_mean", {2}, 0.5f);
  parameters_.allocate(device_, {{.lr = 1.0f}, {.lr = 0.0f}}, 0);
  EXPECT_NE(learnt.value.gradient(), nullptr);
  EXPECT_EQ(frozen.value.gradient(), nullptr);
  EXPECT_EQ(running.value.gradient(), nullptr);
  EXPECT_EQ(running.value.to_host(), (std::vector<float>{0.5f, 0.5f}));
  EXPECT_EQ(parameters_.count(), 4);
}

TEST_F(ParametersTest, DifferentiatesFrozenGroupsWhenAsked) {
  Parameter& frozen = parameters_.add({.name = "norm", .shape = {2}});
  parameters_.allocate(device_, {{.lr = 0.0f}}, 0, /*differentiate_frozen=*/true);
  EXPECT_NE(frozen.value.gradient(), nullptr);
}

TEST_F(ParametersTest, UpdatesWhatIsFinishedAheadOfTheRest) {
  std::vector<Parameter*> all;
  for (const char* name : {"a", "b", "c"})
    all.push_back(&parameters_.add({.name = name, .shape = {1}, .initial = Initial::constant(1.0f)}));
  Parameter& late =
      parameters_.add({.name = "late", .shape = {1}, .initial = Initial::constant(1.0f), .group = 1});
  parameters_.allocate(device_, {{.lr = 0.25f}, {.lr = 0.25f}}, 0);
  const auto values = [&] {
    std::vector<float> result;
    for (const Parameter* parameter : all) result.push_back(parameter->value.to_host().front());
    return result;
  };
  const Tensor state = step_state(1.0f);
  const Parameters::Update update{0b01, kBeta1, kBeta2, static_cast<const StepState*>(state.raw())};
  // A first step moves by the learning rate, whatever the gradient's size.
  parameters_.begin_step();
  parameters_.begin_update(update);
  set_gradient(*all[0], {5.0f});
  set_gradient(*all[1], {5.0f});
  parameters_.update_finished();
  EXPECT_EQ(values(), (std::vector<float>{1.0f, 1.0f, 1.0f})) << "the last one is not finished";
  set_gradient(*all[2], {5.0f});
  {
    const PendingUse use(all[1]->value.gradient());
    parameters_.update_finished();
    parameters_.update_finished();
    EXPECT_EQ(values(), (std::vector<float>{1.0f, 1.0f, 0.75f})) << "something will add to b's gradient";
  }
  parameters_.update_finished();
  EXPECT_EQ(values(), (std::vector<float>{0.75f, 0.75f, 0.75f}));
  parameters_.end_update();
  EXPECT_EQ(values(), (std::vector<float>{0.75f, 0.75f, 0.75f})) << "once is enough";
  EXPECT_EQ(late.value.to_host(), std::vector<float>{1.0f}) << "its group takes no part";
}

TEST_F(ParametersTest, TakesTheGradientForZeroOfWhatIsNotDifferentiated) {
  Parameter& bias = parameters_.add({.name = "bias", .shape = {2}, .initial = Initial::constant(1.0f)});
  bias.differentiated = false;
  parameters_.allocate(device_, {{.lr = 0.5f, .weight_decay = 0.5f}}, 0);
  EXPECT_EQ(bias.value.gradient(), nullptr);
  EXPECT_EQ(parameters_.gradient_to_file(bias).floats(), (std::vector<float>{0.0f, 0.0f}));
  parameters_.begin_step();
  update(0b1);
  EXPECT_EQ(bias.value.to_host(), (std::vector<float>{0.75f, 0.75f})) << "weight decay alone moves it";
}

TEST_F(ParametersTest, CannotGrowOnceAllocated) {
  parameters_.add({.name = "a", .shape = {2}});
  parameters_.allocate(device_, {{.lr = 1.0f}}, 0);
  EXPECT_THROW(parameters_.add({.name = "b", .shape = {2}}), std::invalid_argument);
}

/// One number under AdamW, in double precision.
struct Scalar {
  double value, lr, decay, m = 0.0, v = 0.0;
  int64_t steps = 0;
  void update(double gradient, double factor) {
    ++steps;
    value -= lr * factor * decay * value;
    m = kBeta1 * m + (1.0 - kBeta1) * gradient;
    v = kBeta2 * v + (1.0 - kBeta2) * gradient * gradient;
    const double first = m / (1.0 - std::pow(kBeta1, steps)), second = v / (1.0 - std::pow(kBeta2, steps));
    value -= lr * factor * first / (std::sqrt(second) + 1e-8);
  }
};

TEST_F(ParametersTest, GroupsFollowAdamWEachFromItsOwnStart) {
  // Declared out of group order, sizes off every boundary.
  Parameter& late =
      parameters_.add({.name = "late", .shape = {33}, .initial = Initial::constant(1.0f), .group = 2});
  Parameter& frozen =
      parameters_.add({.name = "norm", .shape = {3}, .initial = Initial::constant(2.0f), .group = 1});
  Parameter& early =
      parameters_.add({.name = "early", .shape = {65}, .initial = Initial::constant(3.0f), .group = 0});
  parameters_.allocate(device_, {{0.1f, 0.01f}, {0.0f, 0.0f}, {0.02f, 0.5f}}, 0);

  Scalar want_early{3.0, 0.1f, 0.01f}, want_late{1.0, 0.02f, 0.5f};
  for (int step = 0; step < 7; ++step) {
    const bool late_active = step >= 3;
    const float factor = 1.0f - 0.1f * step, gradient = std::sin(1.0f + step);
    parameters_.begin_step();
    set_gradient(early, std::vector<float>(65, gradient));
    if (late_active) set_gradient(late, std::vector<float>(33, -2.0f * gradient));
    update(late_active ? 0b111 : 0b011, factor);
    want_early.update(gradient, factor);
    if (late_active) want_late.update(-2.0f * gradient, factor);
    for (float value : early.value.to_host()) ASSERT_NEAR(value, want_early.value, 2e-6) << step;
    for (float value : late.value.to_host()) ASSERT_NEAR(value, want_late.value, 2e-6) << step;
  }
  EXPECT_EQ(frozen.value.to_host(), (std::vector<float>{2.0f, 2.0f, 2.0f}));
}

TEST_F(ParametersTest, AGradientThatDidNotArriveCountsAsZero) {
  Parameter& weight = parameters_.add({.name = "weight", .shape = {3}, .initial = Initial::constant(1.0f)});
  parameters_.allocate(device_, {{0.1f, 0.0f}}, 0);
  set_gradient(weight, {5.0f, 5.0f, 5.0f});
  parameters_.begin_step();  // nothing flows in afterwards: last step's gradient must not be used again
  update(0b1);
  EXPECT_EQ(weight.value.to_host(), (std::vector<float>{1.0f, 1.0f, 1.0f}));
}

TEST_F(ParametersTest, ResumesWithTheOptimisersState) {
  const auto make = [&](Parameters& parameters) -> Parameter& {
    Parameter& weight = parameters.add({.name = "weight", .shape = {5}, .initial = Initial::constant(1.0f)});
    parameters.allocate(device_, {{0.1f, 0.01f}}, 0);
    return weight;
  };
  const Tensor state = step_state(1.0f);
  const auto step = [&](Parameters& parameters, Parameter& weight, float gradient) {
    parameters.begin_step();
    set_gradient(weight, std::vector<float>(5, gradient));
    parameters.update({0b1, kBeta1, kBeta2, static_cast<const StepState*>(state.raw())});
  };
  Parameter& weight = make(parameters_);
  step(parameters_, weight, 1.0f);
  step(parameters_, weight, -3.0f);
  TensorFile file;
  parameters_.save(file, "model.");
  parameters_.save_optimizer(file);

  Parameters resumed;
  Parameter& again = make(resumed);
  resumed.load(file, "model.");
  resumed.load_optimizer(file);
  EXPECT_EQ(again.value.to_host(), weight.value.to_host());
  step(parameters_, weight, 0.5f);
  step(resumed, again, 0.5f);
  EXPECT_EQ(again.value.to_host(), weight.value.to_host());
}

TEST_F(ParametersTest, RefusesAnotherModelsOptimiser) {
  parameters_.add({.name = "weight", .shape = {5}});
  parameters_.allocate(device_, {{.lr = 0.1f}}, 0);
  TensorFile file;
  EXPECT_THROW(parameters_.load_optimizer(file), InputError);
  parameters_.save_optimizer(file);
  file.tensors["optimizer.first_moment"] = HostTensor::of({3}, counting(3));
  EXPECT_THROW(parameters_.load_optimizer(file), InputError);
  parameters_.save_optimizer(file);
  file.tensors["optimizer.steps"] = HostTensor::of({2}, std::vector<int64_t>{1, 1});
  EXPECT_THROW(parameters_.load_optimizer(file), InputError);
}

}  // namespace
}  // namespace scrawl
