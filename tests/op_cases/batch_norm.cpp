#include "engine/ops.h"
#include "tests/op_cases/draws.h"

namespace scrawl::op_table {
namespace {

using enum Input::Role;

constexpr float kEps = 1e-5f, kMomentum = 0.1f;

/// v: x, gamma, beta, running mean, running variance -> y and both running values afterwards.
Outputs reference(const Shape& x, bool training, const std::vector<Numbers>& v) {
  const int64_t rows = x.rows(), channels = x[-1];
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
    for (int64_t r = 0; r < rows; ++r)
      y[r * channels + c] = (v[0][r * channels + c] - mean) * rstd * v[1][c] + v[2][c];
  }
  return {y, running_mean, running_var};
}

OpCase batch_norm_case(std::string name, const Shape& x, bool training = true, Draw draw = normal(2.0, 0.5),
                       double slack = 1.0) {
  const int64_t channels = x[-1];
  const auto state_role = training ? state : constant;
  return {.name = "batch_norm_" + name,
          .inputs = {{"x", x, draw, training ? data : constant},
                     {"gamma", {channels}, normal(0.5, 1.0), training ? parameter : constant, DType::f32},
                     {"beta", {channels}, normal(), training ? parameter : constant, DType::f32},
                     {"running mean", {channels}, normal(), state_role, DType::f32},
                     {"running variance", {channels}, uniform_between(0.5, 2.0), state_role, DType::f32}},
          .run =
              [](Tape& tape, const std::vector<Tensor>& t) {
                const Tensor y = ops::batch_norm(tape, t[0], t[1], t[2], t[3], t[4], kEps, kMomentum);
                return std::vector{y, t[3], t[4]};
              },
          .reference = [=](const std::vector<Numbers>& v) { return reference(x, training, v); },
          .mode = training ? Tape::Mode::train : Tape::Mode::evaluate,
          .slack = slack,
          .absolute = 2e-5};  // sums over all rows may cancel
}

}  // namespace

std::vector<OpCase> batch_norm_cases() {
  return {
      batch_norm_case("one_row", {1, 33}),
      batch_norm_case("3x3", {3, 3}),
      batch_norm_case("2x7x5x33", {2, 7, 5, 33}),
      batch_norm_case("3x13x9x1", {3, 13, 9, 1}),
      batch_norm_case("1025x3", {1025, 3}),
      batch_norm_case("3x61x67x3", {3, 61, 67, 3}),
      batch_norm_case("33x260", {33, 260}),
      batch_norm_case("132x132", {132, 132}),
      batch_norm_case("5x1025", {5, 1025}),
      // The mean itself is only known to 6e-5 in fp32; one-pass variance would be off by a tenth.
      batch_norm_case("mean_1449", {2, 7, 5, 33}, true, normal(1.0, 1449.0), 20.0),
      batch_norm_case("evaluated_2x7x5x33", {2, 7, 5, 33}, false),
      batch_norm_case("evaluated_one_row", {1, 1025}, false),
  };
}

}  // namespace scrawl::op_table
