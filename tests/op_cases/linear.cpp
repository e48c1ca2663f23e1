#include "engine/ops.h"
#include "tests/op_cases/draws.h"

namespace scrawl::op_table {
namespace {

using enum Input::Role;

OpCase linear_case(std::string name, const Shape& x, int64_t out, bool with_bias = true) {
  const int64_t in = x[-1], rows = x.rows();
  OpCase op{.name = "linear_" + name,
            .inputs = {{"x", x, normal()}, {"weight", {out, in}, normal(), parameter}},
            .run =
                [=](Tape& tape, const std::vector<Tensor>& t) {
                  return std::vector{ops::linear(tape, t[0], t[1], with_bias ? t[2] : Tensor())};
                },
            .reference =
                [=](const std::vector<Numbers>& v) {
                  Numbers y(rows * out);
                  for (int64_t r = 0; r < rows; ++r)
                    for (int64_t o = 0; o < out; ++o) {
                      Number& sum = y[r * out + o];
                      if (with_bias) sum = v[2][o];
                      for (int64_t i = 0; i < in; ++i) sum += v[0][r * in + i] * v[1][o * in + i];
                    }
                  return Outputs{y};
                }};
  if (with_bias) op.inputs.push_back({"bias", {out}, normal(), parameter});
  return op;
}

}  // namespace

std::vector<OpCase> linear_cases() {
  return {
      linear_case("1x1x1", {1, 1}, 1),
      linear_case("33x3x132", {33, 3}, 132),
      linear_case("3x260x33", {3, 260}, 33),
      linear_case("132x33x260", {132, 33}, 260),
      linear_case("1025x33x3", {1025, 33}, 3),
      linear_case("3x1025x33", {3, 1025}, 33),
      linear_case("33x3x1025", {33, 3}, 1025),
      linear_case("260x1x1", {260, 1}, 1),
      linear_case("map_2x7x5x33_to_21", {2, 7, 5, 33}, 21),
      linear_case("without_bias", {3, 11, 33}, 132, false),
  };
}

}  // namespace scrawl::op_table
