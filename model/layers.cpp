#include "model/layers.h"

#include <cmath>

namespace scrawl {
namespace {

Initial linear_weight(LinearInit init, int in) {
  return init == LinearInit::truncated_normal ? Initial::truncated_normal(0.02f)
                                              : Initial::uniform(1.0f / std::sqrt(static_cast<float>(in)));
}

Initial linear_bias(LinearInit init, int in) {
  return init == LinearInit::truncated_normal ? Initial::constant(0.0f)
                                              : Initial::uniform(1.0f / std::sqrt(static_cast<float>(in)));
}

}  // namespace

Parameter& Scope::declare(const std::string& name, const Shape& shape, Initial initial,
                          FileLayout layout) const {
  Parameter parameter{.name = prefix + name, .shape = shape, .initial = initial, .layout = layout};
  const bool norm = parameter.name.find("norm") != std::string::npos;
  parameter.group = static_cast<int>(group == Group::encoder && norm ? Group::encoder_norm : group);
  return parameters.add(std::move(parameter));
}

Linear::Linear(const Scope& scope, int in, int out, LinearInit init)
    : weight(scope.declare("weight", {out, in}, linear_weight(init, in))),
      bias(scope.declare("bias", {out}, linear_bias(init, in))) {}

LayerNorm::LayerNorm(const Scope& scope, int channels, const float* epsilon)
    : gamma(scope.declare("weight", {channels}, Initial::constant(1.0f))),
      beta(scope.declare("bias", {channels}, Initial::constant(0.0f))),
      eps(epsilon) {}

Convolution::Convolution(const Scope& scope, int in, int out, int kernel, int stride_, int padding_)
    : weight(scope.declare("weight", {out, kernel, kernel, in},
                           Initial::normal(std::sqrt(2.0f / static_cast<float>(kernel * kernel * out))),
                           FileLayout::convolution)),
      bias(scope.declare("bias", {out}, Initial::constant(0.0f))),
      stride(stride_),
      padding(padding_) {}

}  // namespace scrawl
