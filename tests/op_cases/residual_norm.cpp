#include "engine/ops.h"
#include "tests/op_cases/draws.h"
#include "tests/op_cases/normalised.h"

namespace scrawl::op_table {
namespace {

using enum Input::Role;

struct Sum {
  Shape shape;  // images first
  float rate = 0.0f;
  float eps = 1e-6f;
  bool frozen = false;  // gamma and beta are constants
  Tape::Mode mode = Tape::Mode::train;
  double absolute = 1e-9;

  ops::NormedSum run(Tape& tape, const Tensor& x, const Tensor& branch, const std::vector<Tensor>& t) const {
    return ops::residual_norm(tape, x, {branch}, rate, t[2], t[3], eps);
  }

  struct Reference {
    Numbers sum, normed;
  };
  /// The n-th of a pass.
  Reference reference(uint32_t n, const Numbers& x, const Numbers& branch,
                      const std::vector<Numbers>& v) const {
    const RandomStream random{&kStepState, n};
    const bool drops = mode == Tape::Mode::train && rate > 0.0f;
    const auto elements = static_cast<size_t>(shape.elements() / shape[0]);
    Numbers sum = x;
    for (size_t i = 0; i < sum.size(); ++i) {
      const bool kept = !drops || random.uniform_at(i / elements) < 1.0f - rate;
      if (kept) sum[i] += stored(branch[i] / (drops ? 1.0 - rate : 1.0));
      sum[i] = stored(sum[i]);
    }
    return {sum, normalised(sum, v[2], v[3], eps)};
  }

  /// A case of these inputs whose gradients are yet to be asked for.
  OpCase named(std::string name) const {
    const auto data_role = mode == Tape::Mode::train ? data : constant;
    const auto norm_role = frozen || mode != Tape::Mode::train ? constant : parameter;
    return {.name = "residual_norm_" + name,
            .inputs = {{"x", shape, normal(2.0, 0.5), data_role},
                       {"branch", shape, normal(), data_role},
                       {"gamma", {shape[-1]}, normal(0.5, 1.0), norm_role, DType::f32},
                       {"beta", {shape[-1]}, normal(), norm_role, DType::f32}},
            .mode = mode,
            .absolute = absolute};
  }
};

/// Only the norm reaches the loss, as at the end of a stage.
OpCase norm_case(const std::string& name, const Sum& op) {
  OpCase result = op.named("to_norm_" + name);
  result.run = [=](Tape& tape, const std::vector<Tensor>& t) {
    const auto [sum, normed] = op.run(tape, t[0], t[1], t);
    return std::vector{normed, sum};
  };
  result.reference = [=](const std::vector<Numbers>& v) {
    const auto [sum, normed] = op.reference(0, v[0], v[1], v);
    return Outputs{normed, sum};
  };
  return result;
}

/// Only the sum does.  Frozen: gamma and beta have no gradient.
OpCase sum_case(const std::string& name, Sum op) {
  op.frozen = true;
  OpCase result = op.named("to_sum_" + name);
  result.run = [=](Tape& tape, const std::vector<Tensor>& t) {
    const auto [sum, normed] = op.run(tape, t[0], t[1], t);
    return std::vector{sum, normed};
  };
  result.reference = [=](const std::vector<Numbers>& v) {
    const auto [sum, normed] = op.reference(0, v[0], v[1], v);
    return Outputs{sum, normed};
  };
  return result;
}

/// Two in a row, as in a transformer: both outputs of the first have a gradient, and the norm's is that of
/// the sum but for drop path's scale.
OpCase chain_case(const std::string& name, const Sum& op) {
  OpCase result = op.named("chain_" + name);
  result.run = [=](Tape& tape, const std::vector<Tensor>& t) {
    const auto first = op.run(tape, t[0], t[1], t);
    const auto second = op.run(tape, first.sum, first.normed, t);
    return std::vector{second.normed, second.sum, first.normed, first.sum};
  };
  result.reference = [=](const std::vector<Numbers>& v) {
    const auto first = op.reference(0, v[0], v[1], v);
    Numbers normed = first.normed;
    for (Number& value : normed) value = stored(value);
    const auto second = op.reference(1, first.sum, normed, v);
    return Outputs{second.normed, second.sum, first.normed, first.sum};
  };
  return result;
}

/// x Wᵀ + bias as it would be stored.
Numbers projected(const Numbers& x, const Numbers& weight, const Numbers& bias) {
  const size_t out = bias.size(), in = weight.size() / out;
  Numbers y;
  for (size_t row = 0; row < x.size(); row += in)
    for (size_t o = 0; o < out; ++o) {
      Number sum = bias[o];
      for (size_t i = 0; i < in; ++i) sum += x[row + i] * weight[o * in + i];
      y.push_back(stored(sum));
    }
  return y;
}

Numbers as_stored(Numbers values) {
  for (Number& value : values) value = stored(value);
  return values;
}

/// A transformer's block: both branches end with a linear layer, and the second begins with one, whose share
/// of the first norm's gradient is the last.  `twice`: the norm's output is used once more.
OpCase block_case(const std::string& name, const Sum& op, int64_t in, int64_t hidden, bool twice = false) {
  const int64_t channels = op.shape[-1];
  OpCase result = op.named("block_" + name);
  result.inputs[1].shape = op.shape.with_last(in);
  const auto add = [&](const char* input, const Shape& shape, double scale) {
    result.inputs.push_back({input, shape, normal(scale), parameter});
  };
  add("weight1", {channels, in}, 0.3), add("bias1", {channels}, 1.0);
  add("weight2", {hidden, channels}, 0.1), add("bias2", {hidden}, 1.0);
  add("weight3", {channels, hidden}, 0.3), add("bias3", {channels}, 1.0);
  for (size_t i = 4; i < result.inputs.size(); ++i)
    if (op.frozen) result.inputs[i].role = constant;  // parameters are differentiated together
  result.run = [=](Tape& tape, const std::vector<Tensor>& t) {
    const auto add_norm = [&](const Tensor& x, const ops::Branch& branch) {
      return ops::residual_norm(tape, x, branch, op.rate, t[2], t[3], op.eps);
    };
    const auto first = add_norm(t[0], {t[1], t[4], t[5]});
    const Tensor inner = ops::linear(tape, first.normed, t[6], t[7]);
    const ops::Branch branch{inner, t[8], t[9]};
    if (!twice) {
      const auto second = add_norm(first.sum, branch);
      return std::vector{second.normed, second.sum, first.normed, first.sum};
    }
    const auto second = add_norm(ops::layer_norm(tape, first.normed, t[2], t[3], op.eps), branch);
    const auto third = add_norm(first.sum, {second.normed});
    return std::vector{third.normed, second.normed, first.normed, first.sum};
  };
  result.reference = [=](const std::vector<Numbers>& v) {
    const auto first = op.reference(0, v[0], projected(v[1], v[4], v[5]), v);
    const Numbers normed = as_stored(first.normed);
    const Numbers branch = projected(projected(normed, v[6], v[7]), v[8], v[9]);
    if (!twice) {
      const auto second = op.reference(1, first.sum, branch, v);
      return Outputs{second.normed, second.sum, first.normed, first.sum};
    }
    const auto second = op.reference(1, as_stored(normalised(normed, v[2], v[3], op.eps)), branch, v);
    const auto third = op.reference(2, first.sum, as_stored(second.normed), v);
    return Outputs{third.normed, second.normed, first.normed, first.sum};
  };
  return result;
}

}  // namespace

std::vector<OpCase> residual_norm_cases() {
  return {
      // One channel has no norm: what rounding leaves of a difference, times 1/√eps.
      norm_case("1x1x1", {.shape = {1, 1, 1}, .eps = 1e-5f, .absolute = 1e-4}),
      norm_case("2x5x3", {.shape = {2, 5, 3}, .eps = 1e-5f}),
      norm_case("3x7x33", {.shape = {3, 7, 33}}),
      norm_case("2x3x5x132", {.shape = {2, 3, 5, 132}}),
      norm_case("dropped_33x3x5", {.shape = {33, 3, 5}, .rate = 0.5f, .eps = 1e-5f}),
      norm_case("dropped_7x5x260", {.shape = {7, 5, 260}, .rate = 0.1f}),
      norm_case("dropped_3x150x32", {.shape = {3, 150, 32}, .rate = 0.4f}),
      norm_case("frozen_3x9x64", {.shape = {3, 9, 64}, .frozen = true}),
      norm_case("frozen_dropped_5x9x33", {.shape = {5, 9, 33}, .rate = 0.4f, .frozen = true}),
      sum_case("1x1x1", {.shape = {1, 1, 1}, .eps = 1e-5f, .absolute = 1e-4}),
      sum_case("2x5x33", {.shape = {2, 5, 33}}),
      sum_case("dropped_5x9x32", {.shape = {5, 9, 32}, .rate = 0.4f}),
      sum_case("dropped_5x3x260", {.shape = {5, 3, 260}, .rate = 0.4f}),
      chain_case("2x3x5x132", {.shape = {2, 3, 5, 132}}),
      chain_case("2x700x32", {.shape = {2, 700, 32}}),
      chain_case("3x5x1025", {.shape = {3, 5, 1025}}),
      chain_case("dropped_33x3x33", {.shape = {33, 3, 33}, .rate = 0.5f}),
      chain_case("dropped_5x35x64", {.shape = {5, 35, 64}, .rate = 0.4f}),
      chain_case("dropped_3x5x260", {.shape = {3, 5, 260}, .rate = 0.4f}),
      chain_case("dropped_3x9x320", {.shape = {3, 9, 320}, .rate = 0.4f}),
      chain_case("dropped_3x5x512", {.shape = {3, 5, 512}, .rate = 0.4f}),
      chain_case("frozen_dropped_3x9x256", {.shape = {3, 9, 256}, .rate = 0.4f, .frozen = true}),
      chain_case("dropped_3x5x520", {.shape = {3, 5, 520}, .rate = 0.4f}),
      chain_case("frozen_dropped_5x35x64", {.shape = {5, 35, 64}, .rate = 0.4f, .frozen = true}),
      chain_case("frozen_dropped_3x9x320", {.shape = {3, 9, 320}, .rate = 0.4f, .frozen = true}),
      block_case("2x5x33", {.shape = {2, 5, 33}}, 3, 5),
      block_case("dropped_5x3x32", {.shape = {5, 3, 32}, .rate = 0.4f}, 33, 7),
      block_case("twice_3x5x33", {.shape = {3, 5, 33}}, 3, 5, true),
      // One kernel each way on Hopper, backward if norms are frozen.
      block_case("frozen_2x5x7x64", {.shape = {2, 5, 7, 64}, .frozen = true}, 72, 40),
      block_case("frozen_dropped_5x13x64", {.shape = {5, 13, 64}, .rate = 0.4f, .frozen = true}, 8, 136),
      block_case("frozen_dropped_3x11x128", {.shape = {3, 11, 128}, .rate = 0.4f, .frozen = true}, 64, 72),
      block_case("dropped_3x11x128", {.shape = {3, 11, 128}, .rate = 0.4f}, 64, 72),
      block_case("twice_frozen_2x35x64", {.shape = {2, 35, 64}, .frozen = true}, 64, 64, true),
      block_case("twice_frozen_3x5x128", {.shape = {3, 5, 128}, .frozen = true}, 16, 64, true),
      norm_case("evaluated_33x3x5",
                {.shape = {33, 3, 5}, .rate = 0.5f, .eps = 1e-5f, .mode = Tape::Mode::evaluate}),
  };
}

}  // namespace scrawl::op_table
