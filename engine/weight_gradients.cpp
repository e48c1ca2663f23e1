#include "engine/weight_gradients.h"

#include <algorithm>
#include <utility>

#include "kernels/column_sum.h"
#include "kernels/matmul_group.h"

namespace scrawl {
namespace {

constexpr size_t kEnoughLayers = 10;
constexpr int64_t kEnoughTerms = int64_t{1} << 32;  // products of two numbers: some 15 µs of a large GPU
constexpr int64_t kMostOperandBytes = 32 << 20;     // which others could use

/// Whether one of the group writes what another product would.
bool writes(const MatMulGroup& group, const void* matrix, const void* sum) {
  return std::ranges::any_of(group.products, [&](const MatMul& product) {
    return product.c == matrix || (sum && product.a_sum == sum);
  });
}

}  // namespace

void add_bias_gradient(Device& device, const Tensor& dy, const GradientTarget& db) {
  device.run(ColumnSum{.dtype = dy.dtype(),
                       .x = dy.raw(),
                       .sum = db.f32(),
                       .rows = dy.shape().rows(),
                       .columns = static_cast<int>(dy.dim(-1)),
                       .accumulate = db.accumulate});
}

void WeightGradients::add(const Tensor& x, const Tensor& dy, const Tensor& weight,
                          const std::shared_ptr<Gradient>& bias) {
  weight.gradient()->beside = true;
  if (bias) bias->beside = true;
  layers_.push_back({x, dy, weight.gradient(), bias, weight.shape()});
  uses_.emplace_back(weight.gradient());
  uses_.emplace_back(bias);
  operand_bytes_ += x.bytes() + dy.bytes();
  terms_ += dy.shape().rows() * weight.elements();
  if (layers_.size() >= kEnoughLayers || terms_ >= kEnoughTerms || operand_bytes_ >= kMostOperandBytes)
    start();
}

void WeightGradients::start() {
  if (layers_.empty()) return;
  device_.aside([layers = std::exchange(layers_, {}), &device = device_] { launch(device, layers); });
  uses_.clear();
  operand_bytes_ = terms_ = 0;
}

void WeightGradients::launch(Device& device, const std::vector<Layer>& layers) {
  MatMulGroup group{.name = "linear.backward_weight", .products = {}};
  const auto run_group = [&] {
    if (!group.products.empty()) device.run(group);
    group.products.clear();
  };
  for (const Layer& layer : layers) {
    const int64_t out = layer.weight_shape[0], in = layer.weight_shape[1], rows = layer.dy.shape().rows();
    const auto to_w = gradient_target(device, layer.weight, layer.weight_shape);
    const auto to_b = gradient_target(device, layer.bias, {out});
    const bool together = to_w.accumulate == to_b.accumulate;
    if (writes(group, to_w.data, to_b.data)) run_group();  // a layer that was applied twice
    group.products.push_back({.name = group.name,
                              .dtype = layer.dy.dtype(),
                              .transpose_a = true,
                              .m = out,
                              .n = in,
                              .k = rows,
                              .a = layer.dy.raw(),
                              .lda = out,
                              .b = layer.x.raw(),
                              .ldb = in,
                              .c = to_w.data,
                              .ldc = in,
                              .a_sum = together ? to_b.f32() : nullptr,
                              .accumulate = to_w.accumulate});
    if (to_b.data && !together) add_bias_gradient(device, layer.dy, to_b);
  }
  run_group();
}

}  // namespace scrawl
