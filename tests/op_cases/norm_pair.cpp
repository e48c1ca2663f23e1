#include "engine/ops.h"
#include "tests/op_cases/draws.h"
#include "tests/op_cases/normalised.h"

namespace scrawl::op_table {
namespace {

using enum Input::Role;

struct Pair {
  Shape shape;
  bool learns = false;  // the gammas and betas, not x alone
  double slack = 1.0, absolute = 1e-9;

  static ops::NormedSum run(Tape& tape, const std::vector<Tensor>& t) {
    return ops::norm_pair(tape, t[0], {t[1], t[2], 1e-5f}, {t[3], t[4], 1e-6f});
  }
  struct Reference {
    Numbers z, y;
  };
  static Reference reference(const std::vector<Numbers>& v) {
    Numbers z = normalised(v[0], v[1], v[2], 1e-5);
    for (Number& value : z) value = stored(value);
    return {z, normalised(z, v[3], v[4], 1e-6)};
  }

  /// A case of these inputs whose gradients are yet to be asked for.
  OpCase named(std::string name) const {
    const Shape channels{shape[-1]};
    const auto role = learns ? parameter : constant;
    return {.name = "norm_pair_" + name,
            .inputs = {{"x", shape, normal(2.0, 0.5)},
                       {"gamma", channels, normal(0.5, 1.0), role, DType::f32},
                       {"beta", channels, normal(), role, DType::f32},
                       {"next gamma", channels, normal(0.5, 1.0), role, DType::f32},
                       {"next beta", channels, normal(), role, DType::f32}},
            .slack = slack,
            .absolute = absolute};
  }
};

/// Only the second norm reaches the loss, as in a stage without blocks.
OpCase second_case(const std::string& name, const Pair& op) {
  OpCase result = op.named("to_second_" + name);
  result.run = [](Tape& tape, const std::vector<Tensor>& t) {
    const auto [z, y] = Pair::run(tape, t);
    return std::vector{y, z};
  };
  result.reference = [](const std::vector<Numbers>& v) {
    const auto [z, y] = Pair::reference(v);
    return Outputs{y, z};
  };
  return result;
}

/// Only the first does.  The second's gamma and beta, which have no gradient then, are constants.
OpCase first_case(const std::string& name, const Pair& op) {
  OpCase result = op.named("to_first_" + name);
  for (size_t i : {3, 4}) result.inputs[i].role = constant;
  result.run = [](Tape& tape, const std::vector<Tensor>& t) {
    const auto [z, y] = Pair::run(tape, t);
    return std::vector{z, y};
  };
  result.reference = [](const std::vector<Numbers>& v) {
    const auto [z, y] = Pair::reference(v);
    return Outputs{z, y};
  };
  return result;
}

/// A residual stream: both do.
OpCase stream_case(const std::string& name, const Pair& op) {
  OpCase result = op.named("stream_" + name);
  result.run = [](Tape& tape, const std::vector<Tensor>& t) {
    const auto [z, y] = Pair::run(tape, t);
    const Tensor sum = ops::residual_norm(tape, z, {y}, 0.0f, t[3], t[4], 1e-6f).sum;
    return std::vector{sum, y, z};
  };
  result.reference = [](const std::vector<Numbers>& v) {
    const auto [z, y] = Pair::reference(v);
    Numbers sum = z;
    for (size_t i = 0; i < sum.size(); ++i) sum[i] += stored(y[i]);
    return Outputs{sum, y, z};
  };
  return result;
}

/// The second norm's output is wanted once more, for the gradient of a weight that is applied to it.
OpCase weight_case(const std::string& name, const Pair& op) {
  constexpr int64_t kOut = 5;
  const int64_t channels = op.shape[-1];
  OpCase result = op.named("to_weight_" + name);
  result.inputs.push_back({"weight", {kOut, channels}, normal(0.1), parameter});
  result.run = [](Tape& tape, const std::vector<Tensor>& t) {
    return std::vector{ops::linear(tape, Pair::run(tape, t).normed, t[5], {})};
  };
  result.reference = [=](const std::vector<Numbers>& v) {
    Numbers y = Pair::reference(v).y, out;
    for (Number& value : y) value = stored(value);
    for (size_t row = 0; row < y.size(); row += channels)
      for (int64_t o = 0; o < kOut; ++o) {
        Number total;
        for (int64_t c = 0; c < channels; ++c) total += y[row + c] * v[5][o * channels + c];
        out.push_back(total);
      }
    return Outputs{out};
  };
  return result;
}

}  // namespace

std::vector<OpCase> norm_pair_cases() {
  return {
      second_case("5x3", {.shape = {5, 3}}),
      second_case("1x64", {.shape = {1, 64}}),
      second_case("3x7x33", {.shape = {3, 7, 33}}),
      second_case("2x35x64", {.shape = {2, 35, 64}}),
      second_case("learns_9x320", {.shape = {9, 320}, .learns = true}),
      first_case("5x3", {.shape = {5, 3}}),
      first_case("2x35x64", {.shape = {2, 35, 64}}),
      first_case("9x320", {.shape = {9, 320}}),
      first_case("learns_3x7x33", {.shape = {3, 7, 33}, .learns = true}),
      stream_case("1x32", {.shape = {1, 32}}),
      stream_case("2x150x32", {.shape = {2, 150, 32}}),
      stream_case("2x35x64", {.shape = {2, 35, 64}}),
      stream_case("2x5x128", {.shape = {2, 5, 128}}),
      stream_case("3x5x132", {.shape = {3, 5, 132}}),
      stream_case("9x160", {.shape = {9, 160}}),
      stream_case("3x3x256", {.shape = {3, 3, 256}}),
      stream_case("3x7x264", {.shape = {3, 7, 264}}),
      stream_case("2x9x320", {.shape = {2, 9, 320}}),
      stream_case("3x5x512", {.shape = {3, 5, 512}}),
      stream_case("3x520", {.shape = {3, 520}}),
      stream_case("3x1025", {.shape = {3, 1025}}),
      stream_case("33x3x33", {.shape = {33, 3, 33}}),
      stream_case("learns_2x35x64", {.shape = {2, 35, 64}, .learns = true}),
      stream_case("learns_3x5x33", {.shape = {3, 5, 33}, .learns = true}),
      stream_case("learns_3x5x512", {.shape = {3, 5, 512}, .learns = true}),
      weight_case("2x35x64", {.shape = {2, 35, 64}}),
      weight_case("3x7x33", {.shape = {3, 7, 33}}),
      weight_case("learns_9x320", {.shape = {9, 320}, .learns = true}),
  };
}

}  // namespace scrawl::op_table
