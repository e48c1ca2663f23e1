#include <algorithm>

#include "engine/ops.h"
#include "tests/op_cases/draws.h"

namespace scrawl::op_table {
namespace {

using enum Input::Role;

constexpr float kEps = 1e-5f, kMomentum = 0.1f;

/// v: x, gamma, beta, running mean, running variance -> y and both running values afterwards.
Outputs reference(const Shape& x, bool training, float rate, const std::vector<Numbers>& v) {
  const int64_t rows = x.rows(), channels = x[-1], positions = x[1] * x[2];
  const RandomStream random{&kStepState, 0};
  const auto factor = [&](int64_t row, int64_t channel) {
    if (!training || rate == 0.0f) return 1.0;
    const bool kept = random.uniform_at(row / positions * channels + channel) < 1.0f - rate;
    return kept ? 1.0 / (1.0 - rate) : 0.0;
  };
  Numbers y(rows * channels), running_mean = v[3], running_var = v[4];
  for (int64_t c = 0; c < channels; ++c) {
    Number mean = v[3][c], variance = v[4][c];
    if (training) {
      mean = variance = 0.0;
      for (int64_t r = 0; r < rows; ++r) mean += v[0][r * channels + c] / rows;
      for (int64_t r = 0; r < rows; ++r) {
        const Number distance = v[0][r * channels + c] - mean;
        variance += distance * distance / rows;
      }
      const Number unbiased = rows > 1 ? variance * rows / (rows - 1) : variance;
      running_mean[c] += kMomentum * (mean - running_mean[c]);
      running_var[c] += kMomentum * (unbiased - running_var[c]);
    }
    const Number rstd = 1.0 / sqrt(variance + kEps);
    for (int64_t r = 0; r < rows; ++r) {
      const Number z = stored((v[0][r * channels + c] - mean) * rstd * v[1][c] + v[2][c]);
      y[r * channels + c] = stored(std::max<Number>(z, 0.0)) * factor(r, c);
    }
  }
  return {y, running_mean, running_var};
}

OpCase batch_norm_relu_case(std::string name, const Shape& x, float rate, bool training = true,
                            Draw draw = normal(2.0, 0.5), double slack = 1.0) {
  const int64_t channels = x[-1];
  const auto state_role = training ? state : constant;
  return {.name = "batch_norm_relu_" + name,
          .inputs = {{"x", x, draw, training ? data : constant},
                     {"gamma", {channels}, normal(0.5, 1.0), training ? parameter : constant, DType::f32},
                     {"beta", {channels}, normal(), training ? parameter : constant, DType::f32},
                     {"running mean", {channels}, normal(), state_role, DType::f32},
                     {"running variance", {channels}, uniform_between(0.5, 2.0), state_role, DType::f32}},
          .run =
              [=](Tape& tape, const std::vector<Tensor>& t) {
                const Tensor y =
                    ops::batch_norm_relu(tape, t[0], t[1], t[2], t[3], t[4], kEps, kMomentum, rate);
                return std::vector{y, t[3], t[4]};
              },
          .reference = [=](const std::vector<Numbers>& v) { return reference(x, training, rate, v); },
          .mode = training ? Tape::Mode::train : Tape::Mode::evaluate,
          .slack = slack,
          .absolute = 2e-5};  // sums over all rows may cancel
}

/// With x on both sides of a gap that ReLU's kink falls into: among many values, some would else lie so near
/// to it that differences cross it.
OpCase away_from_kink(OpCase op) {
  op.inputs[0].draw = [](const Shape& shape, Random& random) {
    Values x(shape.elements());
    for (double& value : x) value = 0.5 + (random.chance(0.5f) ? 1.0 : -1.0) * random.uniform(0.5f, 2.0f);
    return x;
  };
  op.inputs[1].draw = uniform_between(0.5, 1.5);
  op.inputs[2].draw = uniform_between(-0.1, 0.1);
  return op;
}

}  // namespace

std::vector<OpCase> batch_norm_relu_cases() {
  return {
      batch_norm_relu_case("one_row", {1, 1, 1, 33}, 0.0f),
      batch_norm_relu_case("3x1x1x3", {3, 1, 1, 3}, 0.5f),
      batch_norm_relu_case("2x7x5x33", {2, 7, 5, 33}, 0.0f),
      batch_norm_relu_case("dropped_2x7x5x33", {2, 7, 5, 33}, 0.5f),
      batch_norm_relu_case("3x13x9x1", {3, 13, 9, 1}, 0.3f),
      batch_norm_relu_case("1x41x25x3", {1, 41, 25, 3}, 0.0f),
      away_from_kink(batch_norm_relu_case("3x61x67x3", {3, 61, 67, 3}, 0.5f)),
      away_from_kink(batch_norm_relu_case("300x1x2x5", {300, 1, 2, 5}, 0.5f)),
      batch_norm_relu_case("3x11x1x260", {3, 11, 1, 260}, 0.1f),
      away_from_kink(batch_norm_relu_case("2x6x11x132", {2, 6, 11, 132}, 0.1f)),
      batch_norm_relu_case("5x1x1x1025", {5, 1, 1, 1025}, 0.5f),
      // The mean itself is only known to 6e-5 in fp32; one-pass variance would be off by a tenth.
      batch_norm_relu_case("mean_1449", {2, 7, 5, 33}, 0.0f, true, normal(1.0, 1449.0), 20.0),
      batch_norm_relu_case("evaluated_2x7x5x33", {2, 7, 5, 33}, 0.5f, false),
      batch_norm_relu_case("evaluated_one_row", {1, 1, 1, 1025}, 0.0f, false),
  };
}

}  // namespace scrawl::op_table
