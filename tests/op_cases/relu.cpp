#include <algorithm>

#include "engine/ops.h"
#include "tests/op_cases/draws.h"

namespace scrawl::op_table {
namespace {

OpCase relu_case(std::string name, const Shape& x) {
  return {.name = "relu_" + name,
          .inputs = {{"x", x, away_from_zero()}},
          .run = [](Tape& tape, const std::vector<Tensor>& t) { return std::vector{ops::relu(tape, t[0])}; },
          .reference =
              [](const std::vector<Numbers>& v) {
                Numbers y = v[0];
                for (Number& value : y) value = std::max<Number>(value, 0.0);
                return Outputs{y};
              }};
}

OpCase add_relu_case(std::string name, const Shape& shape) {
  return {.name = "add_relu_" + name,
          // No sum is near zero, where ReLU has its kink.
          .inputs = {{"a", shape, whole_numbers(6)}, {"b", shape, uniform_between(-2.7, -2.3)}},
          .run = [](Tape& tape,
                    const std::vector<Tensor>& t) { return std::vector{ops::add_relu(tape, t[0], t[1])}; },
          .reference =
              [](const std::vector<Numbers>& v) {
                Numbers y = v[0];
                for (size_t i = 0; i < y.size(); ++i) y[i] = std::max<Number>(y[i] + v[1][i], 0.0);
                return Outputs{y};
              }};
}

/// ReLU of a linear layer, whose bias's gradient then comes from ReLU's; and of a sum with one.  No value is
/// near zero, where ReLU has its kink: factors are whole numbers, biases are not.
OpCase relu_of_linear_case(std::string name, const Shape& x, int64_t out, bool with_addend) {
  const int64_t in = x[-1], rows = x.rows();
  OpCase op{
      .name = std::string(with_addend ? "add_relu" : "relu") + "_of_linear_" + name,
      .inputs = {{"x", x, whole_numbers(3)},
                 {"weight", {out, in}, whole_numbers(3), Input::Role::parameter},
                 {"bias", {out}, uniform_between(0.4, 0.6), Input::Role::parameter}},
      .run =
          [=](Tape& tape, const std::vector<Tensor>& t) {
            const auto linear = [&] { return ops::linear(tape, t[0], t[1], t[2]); };
            return std::vector{with_addend ? ops::add_relu(tape, t[3], linear()) : ops::relu(tape, linear())};
          },
      .reference =
          [=](const std::vector<Numbers>& v) {
            Numbers y(rows * out);
            for (int64_t r = 0; r < rows; ++r)
              for (int64_t o = 0; o < out; ++o) {
                Number sum = v[2][o];
                for (int64_t i = 0; i < in; ++i) sum += v[0][r * in + i] * v[1][o * in + i];
                sum = stored(sum);
                if (with_addend) sum += v[3][r * out + o];
                y[r * out + o] = std::max<Number>(sum, 0.0);
              }
            return Outputs{y};
          }};
  if (with_addend) op.inputs.push_back({"addend", x.with_last(out), whole_numbers(3)});
  return op;
}

}  // namespace

std::vector<OpCase> relu_cases() {
  return {relu_case("1", {1}),
          relu_case("33", {33}),
          relu_case("2x7x5x132", {2, 7, 5, 132}),
          relu_case("3x1025", {3, 1025}),
          relu_case("70001", {70001}),
          add_relu_case("1", {1}),
          add_relu_case("3x33", {3, 33}),
          add_relu_case("2x7x5x132", {2, 7, 5, 132}),
          add_relu_case("70001", {70001}),
          relu_of_linear_case("33x3_to_21", {33, 3}, 21, false),
          relu_of_linear_case("2x7x5x1_to_132", {2, 7, 5, 1}, 132, false),
          relu_of_linear_case("5001x2_to_8", {5001, 2}, 8, false),
          relu_of_linear_case("701x2_to_136", {701, 2}, 136, true),
          relu_of_linear_case("3x2_to_1", {3, 2}, 1, true)};
}

}  // namespace scrawl::op_table
