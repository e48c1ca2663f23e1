// ReLU behind linear layers, and what gradients meet on their way back to it.
#include <algorithm>

#include "engine/ops.h"
#include "tests/op_cases/draws.h"

namespace scrawl::op_table {
namespace {

using enum Input::Role;

// No sum is near zero, where ReLU has its kink: factors and addends are whole numbers, biases are not; in
// chains they are such that further sums are no whole numbers either.

/// x Wᵀ + bias of rows [rows, in].
Numbers linear(const Numbers& x, const Numbers& weight, const Numbers& bias) {
  const int64_t out = static_cast<int64_t>(bias.size()), in = static_cast<int64_t>(weight.size()) / out,
                rows = static_cast<int64_t>(x.size()) / in;
  Numbers y(rows * out);
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t o = 0; o < out; ++o) {
      Number& sum = y[r * out + o] = bias[o];
      for (int64_t i = 0; i < in; ++i) sum += x[r * in + i] * weight[o * in + i];
    }
  return y;
}

/// max(sum + addend, 0), the addend empty for zero.
Numbers relu(const Numbers& sum, const Numbers& addend = {}) {
  Numbers y;
  for (size_t i = 0; i < sum.size(); ++i) {
    const Number stored_sum = stored(sum[i]);
    y.push_back(std::max<Number>(addend.empty() ? stored_sum : stored_sum + addend[i], 0.0));
  }
  return y;
}

OpCase relu_case(std::string name, const Shape& x, int64_t out, bool with_addend) {
  OpCase op{.name = std::string(with_addend ? "add_relu_" : "relu_") + name,
            .inputs = {{"x", x, whole_numbers(3)},
                       {"weight", {out, x[-1]}, whole_numbers(3), parameter},
                       {"bias", {out}, uniform_between(-2.6, -2.4), parameter}},
            .run =
                [=](Tape& tape, const std::vector<Tensor>& t) {
                  return std::vector{with_addend ? ops::linear_add_relu(tape, t[0], t[1], t[2], t[3])
                                                 : ops::linear_relu(tape, t[0], t[1], t[2])};
                },
            .reference =
                [=](const std::vector<Numbers>& v) {
                  return Outputs{relu(linear(v[0], v[1], v[2]), with_addend ? v[3] : Numbers())};
                }};
  if (with_addend) op.inputs.push_back({"addend", x.with_last(out), whole_numbers(3)});
  return op;
}

/// Two layers, the second with a sum, as the feature augmentation has them, and a linear one of what comes
/// out: so both outputs' gradients are gated by who computes them, if nothing else flows there.
OpCase chain_case(std::string name, int64_t rows, int64_t width, int64_t classes, bool used_twice) {
  return {.name = "relu_chain_" + name,
          .inputs = {{"x", {rows, 2}, whole_numbers(3)},
                     {"addend", {rows, width}, whole_numbers(3)},
                     {"weight", {4, 2}, whole_numbers(3), parameter},
                     {"bias", {4}, always(-2.5), parameter},
                     {"weight2", {width, 4}, whole_numbers(2), parameter},
                     {"bias2", {width}, always(-2.125), parameter},
                     {"weight3", {classes, width}, normal(), parameter},
                     {"bias3", {classes}, normal(), parameter}},
          .run =
              [=](Tape& tape, const std::vector<Tensor>& t) {
                const Tensor h = ops::linear_relu(tape, t[0], t[2], t[3]);
                const Tensor sum = ops::linear_add_relu(tape, h, t[4], t[5], t[1]);
                const Tensor last = used_twice ? ops::linear_add_relu(tape, h, t[4], t[5], sum) : sum;
                return std::vector{ops::linear(tape, last, t[6], t[7])};
              },
          .reference =
              [=](const std::vector<Numbers>& v) {
                Numbers h = relu(linear(v[0], v[2], v[3]));
                for (Number& value : h) value = stored(value);
                Numbers sum = relu(linear(h, v[4], v[5]), v[1]);
                for (Number& value : sum) value = stored(value);
                if (used_twice) sum = relu(linear(h, v[4], v[5]), sum);
                return Outputs{linear(sum, v[6], v[7])};
              }};
}

}  // namespace

std::vector<OpCase> relu_cases() {
  return {relu_case("1x1_to_1", {1, 1}, 1, false),
          relu_case("33x3_to_21", {33, 3}, 21, false),
          relu_case("2x7x5x1_to_132", {2, 7, 5, 1}, 132, false),
          relu_case("5001x2_to_8", {5001, 2}, 8, false),
          relu_case("3x1025_to_5", {3, 1025}, 5, false),
          relu_case("701x2_to_136", {701, 2}, 136, true),
          relu_case("3x2_to_1", {3, 2}, 1, true),
          chain_case("of_packs", 145, 64, 21, false),
          chain_case("of_odd_rows", 33, 13, 5, false),
          chain_case("used_twice", 33, 32, 3, true)};
}

}  // namespace scrawl::op_table
