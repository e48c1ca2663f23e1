#include "engine/ops/linear.h"

#include "engine/ops.h"
#include "engine/ops/in_place.h"
#include "engine/recomputation.h"
#include "kernels/linear_backward.h"
#include "kernels/relu.h"

namespace scrawl::ops {
namespace {

/// x Wᵀ + bias + addend, rectified if `relu`; `bias` and `addend` may be undefined.
Tensor forward(Device& device, const Tensor& x, const Tensor& weight, const Tensor& bias,
               const Tensor& addend = {}, bool relu = false) {
  MatMul product = linear_product(x, weight, bias);
  const Shape shape = x.shape().with_last(product.n);
  require(!addend.defined() || (addend.shape() == shape && addend.dtype() == x.dtype()),
          "linear: addend {} does not fit the output {}, or x's type", addend.shape().text(), shape.text());
  Tensor y(device, shape, x.dtype());
  product.c = y.raw();
  product.addend = addend.raw();
  product.relu = relu;
  device.run(product);
  return y;
}

/// What goes back through x Wᵀ + bias.
class Layer {
 public:
  Layer(const Tensor& x, const Tensor& weight)
      : x_(x), x_shape_(x.shape()), dx_(x.gradient()), weight_(weight) {}

  /// `db` is null when nobody wants it.
  void backward(Tape& tape, const Tensor& dy, const std::shared_ptr<Gradient>& db) const {
    if (goes_over_input(db)) return backward_over_input(tape.device(), dy, db);
    input_backward(tape, dy);  // goes first: others wait for it
    if (!weight_.gradient()) return;
    x_.use({weight_.gradient(), db}, [&tape, dy, weight = weight_, db](const Tensor& x) {
      tape.weight_gradients().add(x, dy, weight, db);
    });
  }

 private:
  /// Whether this is all that goes back to an input that ReLU has yielded, and nobody else looks at: then its
  /// gradient, a classifier's largest map, takes its memory.  A larger layer's weight gradient had better go
  /// beside what follows.
  bool goes_over_input(const std::shared_ptr<Gradient>& db) const {
    constexpr int64_t kFewOutputs = 32;
    if (db && db->beside) return false;
    return weight_.dim(0) <= kFewOutputs && weight_.gradient() && !weight_.gradient()->beside && dx_ &&
           dx_->gate && !dx_->written && dx_->pending == 1 && x_.is_shared_only_with(dx_->gate->output);
  }

  void backward_over_input(Device& device, const Tensor& dy, const std::shared_ptr<Gradient>& db) const {
    dx_->value = dx_->gate->output;
    const ProductTarget dx = product_target(device, dx_, x_shape_, dy.dtype());
    const auto to_w = gradient_target(device, weight_.gradient(), weight_.shape());
    const auto to_b = gradient_target(device, db, {weight_.dim(0)});
    const bool together = to_w.accumulate == to_b.accumulate;
    device.run(RectifiedLinearBackward{.dtype = dy.dtype(),
                                       .rows = x_shape_.rows(),
                                       .inputs = weight_.dim(1),
                                       .outputs = weight_.dim(0),
                                       .x = dx.data,
                                       .dy = dy.raw(),
                                       .w = weight_.raw(),
                                       .dx = dx.data,
                                       .dw = to_w.f32(),
                                       .dbias = together ? to_b.f32() : nullptr,
                                       .accumulate = to_w.accumulate});
    if (to_b.data && !together) add_bias_gradient(device, dy, to_b);
  }

  /// dx (+)= dy W.
  void input_backward(Tape& tape, const Tensor& dy) const {
    if (!dx_ || tape.leave(dx_, dy, weight_)) return;
    const ProductTarget dx = product_target(tape.device(), dx_, x_shape_, dy.dtype());
    MatMul product = input_gradient(dy, weight_);
    product.c = dx.data;
    product.addend = dx.addend.raw();
    product.gate = dx.gate.raw();
    product.accumulate = dx.accumulate;
    tape.device().run(product);
  }

  Kept x_;
  Shape x_shape_;
  std::shared_ptr<Gradient> dx_;
  Tensor weight_;
};

/// The gradient of what became y = max(·, 0).
Tensor relu_backward(const Tensor& y, const Tensor& dy) {
  Tensor dx = over(dy);
  dy.device().run(ReluBackward{
      .dtype = y.dtype(), .y = y.raw(), .dy = dy.raw(), .dx = dx.raw(), .elements = y.elements()});
  return dx;
}

Tensor rectified(Tape& tape, const Tensor& x, const Tensor& weight, const Tensor& bias,
                 const Tensor& addend) {
  Tensor y = forward(tape.device(), x, weight, bias, addend, true);

  const auto gate = std::make_shared<Gate>(Gate{.output = y.slice(0, y.shape())});
  tape.record(y, {&x, &weight, &bias, &addend},
              [gate, &tape, layer = Layer(x, weight), db = bias.gradient(),
               da = addend.gradient()](const Tensor& dy) {
                const Tensor dsum = gate->applied ? dy : relu_backward(gate->output, dy);
                gate->output = {};  // goes before the layer takes memory
                layer.backward(tape, dsum, db);
                pass_gradient(tape.device(), da, dsum);
              });
  if (y.gradient()) y.gradient()->gate = gate;
  return y;
}

}  // namespace

MatMul linear_product(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  require(weight.shape().rank() == 2 && x.shape().rank() >= 1 && x.dim(-1) == weight.dim(1),
          "linear: x {} does not fit weight {}", x.shape().text(), weight.shape().text());
  require(!bias.defined() || (bias.shape() == Shape{weight.dim(0)} && bias.dtype() == x.dtype()),
          "linear: bias {} does not fit weight {}, or x's type", bias.shape().text(), weight.shape().text());
  const int64_t out = weight.dim(0), in = weight.dim(1);
  return {.name = "linear.forward",
          .dtype = x.dtype(),
          .c_dtype = x.dtype(),
          .transpose_b = true,
          .m = x.shape().rows(),
          .n = out,
          .k = in,
          .a = x.raw(),
          .lda = in,
          .b = weight.raw(),
          .ldb = in,
          .ldc = out,
          .bias = bias.raw()};
}

MatMul input_gradient(const Tensor& dy, const Tensor& weight) {
  const int64_t out = weight.dim(0), in = weight.dim(1);
  return {.name = "linear.backward_input",
          .dtype = dy.dtype(),
          .c_dtype = dy.dtype(),
          .m = dy.shape().rows(),
          .n = in,
          .k = out,
          .a = dy.raw(),
          .lda = out,
          .b = weight.raw(),
          .ldb = in,
          .ldc = in};
}

MatMul left_product(const LeftProduct& left, const Tensor& gradient, const Shape& shape, Tensor& total) {
  const bool adds = gradient.defined(), in_place = adds && gradient.unique();
  total = in_place ? gradient : Tensor(left.dy.device(), shape, left.dy.dtype());
  MatMul product = input_gradient(left.dy, left.weight);
  product.c = total.raw();
  product.accumulate = in_place;
  if (adds && !in_place) product.addend = gradient.raw();
  return product;
}

void record_linear(Tape& tape, Tensor& y, const Tensor& x, const Tensor& weight, const Tensor& bias) {
  const auto bias_sum = std::make_shared<RowSum>(RowSum{.target = bias.gradient()});
  tape.record(y, {&x, &weight, &bias}, [bias_sum, &tape, layer = Layer(x, weight)](const Tensor& dy) {
    layer.backward(tape, dy, bias_sum->yielded ? nullptr : bias_sum->target);
  });
  if (y.gradient() && bias_sum->target) y.gradient()->row_sum = bias_sum;
}

Tensor linear(Tape& tape, const Tensor& x, const Tensor& weight, const Tensor& bias) {
  Tensor y = forward(tape.device(), x, weight, bias);
  record_linear(tape, y, x, weight, bias);
  return y;
}

Tensor linear_relu(Tape& tape, const Tensor& x, const Tensor& weight, const Tensor& bias) {
  return rectified(tape, x, weight, bias, {});
}

Tensor linear_add_relu(Tape& tape, const Tensor& x, const Tensor& weight, const Tensor& bias,
                       const Tensor& addend) {
  require(addend.defined(), "linear: no addend");
  return rectified(tape, x, weight, bias, addend);
}

}  // namespace scrawl::ops
