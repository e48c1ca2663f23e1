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

/// That the gradient lies in memory, and no share comes behind the sum over rows of all of them.
void expect_open(const Gradient& gradient) {
  require(!gradient.of_loss, "a loss's gradient is a number");
  require(!gradient.written || !gradient.row_sum || !gradient.row_sum->yielded,
          "a gradient {} whose sum has been taken gets another share", gradient.value.shape().text());
}

}  // namespace

void await(Device& device, Gradient& gradient) {
  if (gradient.under_way) device.join(*std::exchange(gradient.under_way, {}));
}

void add_to_loss(const std::shared_ptr<Gradient>& slot, float weight) {
  if (!slot) return;
  require(slot->of_loss.has_value(), "only a loss counts by a number");
  *slot->of_loss += weight;
  slot->written = true;
}

GradientTarget gradient_target(Device& device, const std::shared_ptr<Gradient>& slot, const Shape& shape,
                               DType dtype) {
  if (!slot) return {};
  await(device, *slot);
  expect_open(*slot);
  if (slot->gate) slot->gate->applied = false;  // not to what comes now
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

ProductTarget product_target(Device& device, const std::shared_ptr<Gradient>& slot, const Shape& shape,
                             DType dtype) {
  ProductTarget target;
  if (!slot) return target;
  // Where more flows in, who wished for the gate applies it to the sum.
  if (slot->gate && !slot->written && slot->pending == 1) target.gate = slot->gate->output;
  expect_open(*slot);
  // Others hold what is there: the sum begins elsewhere.
  if (slot->written && slot->lent && !slot->value.unique()) {
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
  expect_open(*slot);
  if (!slot->written && !slot->value.defined()) {
    slot->value = dy;
    slot->written = slot->lent = true;
  } else {
    copy(device, dy, gradient_target(device, slot, dy.shape(), dy.dtype()));
  }
}

}  // namespace scrawl
