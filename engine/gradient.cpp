#include "engine/gradient.h"

#include "kernels/cast.h"

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

/// That no share comes behind the sum over rows of all of them.
void expect_no_sum(const Gradient& gradient) {
  require(!gradient.written || !gradient.row_sum || !gradient.row_sum->yielded,
          "a gradient {} whose sum has been taken gets another share", gradient.value.shape().text());
}

bool is_held_by_others(const Gradient& gradient) {
  return gradient.written && gradient.lent && !gradient.value.unique();
}

/// Whether a share may wait for the next one.  Leaves' gradients are read by others, at any time.
bool may_wait(const Gradient& gradient, const Tensor& share) {
  return gradient.taken && gradient.pending > 1 && !gradient.passed.defined() && gradient.written &&
         !is_held_by_others(gradient) && share.dtype() == gradient.value.dtype();
}

/// Adds the share that waits.
void settle(Device& device, Gradient& gradient) {
  if (const Tensor share = std::exchange(gradient.passed, {}); share.defined())
    copy(device, share, {.data = gradient.value.raw(), .accumulate = true});
}

}  // namespace

void await(Device& device, Gradient& gradient) {
  if (gradient.under_way) device.join(*std::exchange(gradient.under_way, {}));
}

Tensor take(Device& device, Gradient& gradient) {
  if (!gradient.written) return {};
  await(device, gradient);
  settle(device, gradient);
  gradient.written = gradient.lent = false;
  return std::exchange(gradient.value, {});
}

GradientTarget gradient_target(Device& device, const std::shared_ptr<Gradient>& slot, const Shape& shape,
                               DType dtype) {
  if (!slot) return {};
  await(device, *slot);
  settle(device, *slot);
  expect_no_sum(*slot);
  if (slot->gate) slot->gate->applied = false;  // not to what comes now
  if (!slot->written) {
    if (!slot->value.defined()) slot->value = Tensor(device, shape, dtype);
    slot->written = true;
    return {slot->value.raw(), false};
  }
  if (is_held_by_others(*slot)) {
    Tensor own(device, slot->value.shape(), slot->value.dtype());
    copy(device, slot->value, {own.raw()});
    slot->value = own;
  }
  slot->lent = false;
  return {slot->value.raw(), true};
}

ProductTarget product_target(Device& device, const std::shared_ptr<Gradient>& slot, const Shape& shape,
                             DType dtype) {
  ProductTarget target;
  if (!slot) return target;
  // Where more flows in, who wished for the gate applies it to the sum.
  if (slot->gate && !slot->written && slot->pending == 1) target.gate = slot->gate->output;
  expect_no_sum(*slot);
  if (slot->passed.defined()) {
    target.addend = std::exchange(slot->passed, {});
  } else if (is_held_by_others(*slot)) {  // the sum begins elsewhere
    target.addend = std::exchange(slot->value, {});
    slot->written = slot->lent = false;
  }
  static_cast<GradientTarget&>(target) = gradient_target(device, slot, shape, dtype);
  if (target.gate.defined()) slot->gate->applied = true;
  return target;
}

GradientTarget row_sum_target(Device& device, const std::shared_ptr<Gradient>& slot, int64_t channels) {
  if (!slot || slot->written || !slot->row_sum || slot->pending != 1) return {};
  RowSum& sum = *slot->row_sum;
  if (sum.target->beside) return {};
  sum.yielded = true;
  return gradient_target(device, sum.target, {channels});
}

void pass_gradient(Device& device, const std::shared_ptr<Gradient>& slot, const Tensor& dy) {
  if (!slot) return;
  if (!slot->written && !slot->value.defined()) {
    slot->value = dy;
    slot->written = slot->lent = true;
  } else if (may_wait(*slot, dy)) {
    expect_no_sum(*slot);
    if (slot->gate) slot->gate->applied = false;
    slot->passed = dy;
  } else {
    copy(device, dy, gradient_target(device, slot, dy.shape(), dy.dtype()));
  }
}

}  // namespace scrawl
