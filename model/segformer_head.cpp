#include "model/segformer_head.h"

#include <cmath>
#include <utility>

namespace scrawl {
namespace {

constexpr float kBatchNormEps = 1e-5f, kBatchNormMomentum = 0.1f;

/// A 1×1 convolution is a linear layer whose weight has two more dimensions in the file.
Linear pointwise(const Scope& scope, int in, int out) {
  Linear linear(scope, in, out, LinearInit::uniform);
  linear.weight.file_shape = {out, in, 1, 1};
  return linear;
}

Parameter& fuse_weight(const Scope& scope, int width) {
  Parameter& weight = scope.declare("weight", {width, 4 * width},
                                    Initial::normal(std::sqrt(2.0f / static_cast<float>(width))));
  weight.file_shape = {width, 4 * width, 1, 1};
  return weight;
}

}  // namespace

SegformerHead::SegformerHead(const Scope& scope, const ModelConfig& config)
    : fuse_(fuse_weight(scope.inner("linear_fuse.conv"), config.width)),
      norm_{scope.declare("linear_fuse.bn.weight", {config.width}, Initial::constant(1.0f)),
            scope.declare("linear_fuse.bn.bias", {config.width}, Initial::constant(0.0f)),
            scope.parameters.add_state(scope.prefix + "linear_fuse.bn.running_mean", {config.width}, 0.0f),
            scope.parameters.add_state(scope.prefix + "linear_fuse.bn.running_var", {config.width}, 1.0f)},
      linear_pred_(pointwise(scope.inner("linear_pred"), config.width, config.classes)),
      dropout_(config.dropout) {
  for (int i = 0; i < 4; ++i) {
    linear_c_.emplace_back(scope.inner("linear_c" + std::to_string(i + 1)).inner("proj"),
                           config.embed_dims[i], config.width, LinearInit::uniform);
    // Batch norm subtracts whatever the biases add, so their gradient is zero.  Computed, it would be
    // rounding noise, which AdamW turns into steps of full size.
    linear_c_.back().bias.differentiated = false;
  }
}

ops::DecoderProducts SegformerHead::products(Device& device, DType map_dtype) const {
  std::array<Tensor, 4> weights, biases;
  for (int i = 0; i < 4; ++i) {
    weights[i] = linear_c_[i].weight.value;
    biases[i] = linear_c_[i].bias.value;
  }
  return ops::decoder_products(device, weights, biases, fuse_.value, map_dtype);
}

Tensor SegformerHead::features(Tape& tape, const std::array<Tensor, 4>& maps,
                               ops::DecoderProducts products) const {
  const Tensor fused = ops::decoder_fuse(tape, maps, std::move(products));
  return ops::batch_norm_relu(tape, fused, norm_.gamma.value, norm_.beta.value, norm_.running_mean.value,
                              norm_.running_var.value, kBatchNormEps, kBatchNormMomentum, dropout_);
}

}  // namespace scrawl
