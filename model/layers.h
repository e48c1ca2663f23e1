#pragma once
// The learnt building blocks: each declares its parameters under the published names and applies one
// operation.
#include <string>

#include "engine/ops.h"
#include "engine/parameters.h"

namespace scrawl {

/// Parameter groups, as the published optimiser forms them.
enum class Group { encoder, encoder_norm, decoder, feature_augmentation };
inline constexpr int kGroups = 4;

/// Where a part of the model declares its parameters: names get this prefix.
struct Scope {
  Parameters& parameters;
  std::string prefix;  // ends with '.', or is empty
  Group group;

  Scope inner(const std::string& name) const { return {parameters, prefix + name + ".", group}; }
  /// The encoder freezes every parameter with "norm" anywhere in its name.
  Parameter& declare(const std::string& name, const Shape& shape, Initial initial,
                     FileLayout layout = FileLayout::same) const;
};

/// How a linear layer starts: the encoder's truncated normal with zero bias, or PyTorch's default, uniform in
/// ±1/√fan_in for weights and biases.
enum class LinearInit { truncated_normal, uniform };

struct Linear {
  Linear(const Scope& scope, int in, int out, LinearInit init);
  Tensor operator()(Tape& tape, const Tensor& x) const {
    return ops::linear(tape, x, weight.matrix, bias.matrix);
  }
  /// A residual branch that ends with this layer, over x: to be computed together with the sum.
  ops::Branch branch_of(const Tensor& x) const { return {x, weight.matrix, bias.matrix}; }
  Tensor relu(Tape& tape, const Tensor& x) const {
    return ops::linear_relu(tape, x, weight.matrix, bias.matrix);
  }
  /// relu(addend + the layer's output).
  Tensor add_relu(Tape& tape, const Tensor& x, const Tensor& addend) const {
    return ops::linear_add_relu(tape, x, weight.matrix, bias.matrix, addend);
  }
  Parameter& weight;
  Parameter& bias;
};

struct LayerNorm {
  /// `epsilon` is read whenever the layer is applied: loaded weights may bring their own.
  LayerNorm(const Scope& scope, int channels, const float* epsilon);
  Tensor operator()(Tape& tape, const Tensor& x) const {
    return ops::layer_norm(tape, x, gamma.value, beta.value, *eps);
  }
  /// Of x + branch, which comes along; see ops::residual_norm.
  ops::NormedSum of_sum(Tape& tape, const Tensor& x, const ops::Branch& branch, float drop_path) const {
    return ops::residual_norm(tape, x, branch, drop_path, gamma.value, beta.value, *eps);
  }
  /// Of x, with which a residual stream begins, and `next` of that; see ops::norm_pair.
  ops::NormedSum followed_by(Tape& tape, const Tensor& x, const LayerNorm& next) const {
    return ops::norm_pair(tape, x, {gamma.value, beta.value, *eps},
                          {next.gamma.value, next.beta.value, *next.eps});
  }
  Parameter& gamma;
  Parameter& beta;
  const float* eps;
};

struct Convolution {
  Convolution(const Scope& scope, int in, int out, int kernel, int stride_, int padding_);
  Tensor operator()(Tape& tape, const Tensor& x) const {
    return ops::convolution(tape, x, weight.matrix, bias.matrix, stride, padding);
  }
  Parameter& weight;
  Parameter& bias;
  int stride, padding;
};

}  // namespace scrawl
