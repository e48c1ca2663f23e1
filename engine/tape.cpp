#include "engine/tape.h"

#include "kernels/cast.h"
#include "kernels/elementwise.h"

namespace scrawl {
namespace {

/// y (+)= x.
void copy(Device& device, const Tensor& x, const GradientTarget& y) {
  device.run(Cast{.from = x.dtype(),
                  .to = x.dtype(),
                  .x = x.raw(),
                  .y = y.data,
                  .elements = x.elements(),
                  .accumulate = y.accumulate});
}

/// Whether any is differentiated; those that want the sum of their gradient learn of one more reader.
bool note_readers(std::initializer_list<const Tensor*> inputs) {
  bool any = false;
  for (const Tensor* x : inputs) {
    any |= x->gradient() != nullptr;
    if (x->gradient() && x->gradient()->row_sum) ++x->gradient()->row_sum->readers;
  }
  return any;
}

}  // namespace

/// Gives an output its gradient slot.
Tape::Output Tape::Output::of(Tensor& y) {
  y.set_gradient(std::make_shared<Gradient>());
  return {y.gradient(), y.shape()};
}

/// What has flowed into it, which the slot then lets go; undefined when nothing has.
Tensor Tape::Output::take_gradient() const {
  if (!gradient || !gradient->written) return {};
  const Tensor dy = std::move(gradient->value);
  *gradient = {};
  return dy.reshape(shape);
}

void Tape::record(Tensor& y, std::initializer_list<const Tensor*> inputs, Backward backward) {
  if (mode_ != Mode::train || !note_readers(inputs)) return;
  nodes_.push_back({Output::of(y), {}, [backward = std::move(backward)](const Tensor& dy, const Tensor&) {
                      backward(dy);
                    }});
}

void Tape::record(Tensor& y, Tensor& z, std::initializer_list<const Tensor*> inputs, BackwardOfTwo backward) {
  if (mode_ != Mode::train || !note_readers(inputs)) return;
  nodes_.push_back({Output::of(y), Output::of(z), std::move(backward)});
}

void Tape::backward(const Tensor& loss, float weight, size_t down_to) {
  require(loss.elements() == 1, "backward starts from one number, got shape {}", loss.shape().text());
  require(loss.gradient() != nullptr, "backward: nothing was recorded for this loss");
  loss.gradient()->value = Tensor(device_, loss.shape());
  device_.run(Fill{.y = loss.gradient()->value.data<float>(), .elements = 1, .value = weight});
  loss.gradient()->written = true;
  while (nodes_.size() > down_to) {
    Node node = std::move(nodes_.back());
    nodes_.pop_back();
    const Tensor dy = node.first.take_gradient(), dz = node.second.take_gradient();
    if (dy.defined() || dz.defined()) node.backward(dy, dz);  // else it did not reach the loss
  }
  device_.join();
}

GradientTarget gradient_target(Device& device, const std::shared_ptr<Gradient>& slot, const Shape& shape,
                               DType dtype) {
  if (!slot) return {};
  if (!slot->written) {
    if (!slot->value.defined()) slot->value = Tensor(device, shape, dtype);
    slot->written = true;
    return {slot->value.raw(), false};
  }
  if (slot->lent && !slot->value.unique()) {
    Tensor own(device, slot->value.shape(), slot->value.dtype());
    copy(device, slot->value, {own.raw()});
    slot->value = own;
  }
  slot->lent = false;
  return {slot->value.raw(), true};
}

GradientTarget row_sum_target(Device& device, const std::shared_ptr<Gradient>& slot, int64_t channels) {
  if (!slot || slot->written || !slot->row_sum || slot->row_sum->readers != 1) return {};
  slot->row_sum->yielded = true;
  return gradient_target(device, slot->row_sum->target, {channels});
}

void pass_gradient(Device& device, const std::shared_ptr<Gradient>& slot, const Tensor& dy) {
  if (!slot) return;
  if (!slot->written && !slot->value.defined()) {
    slot->value = dy;
    slot->written = slot->lent = true;
  } else {
    copy(device, dy, gradient_target(device, slot, dy.shape(), dy.dtype()));
  }
}

}  // namespace scrawl
