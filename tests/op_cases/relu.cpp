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
          add_relu_case("70001", {70001})};
}

}  // namespace scrawl::op_table
