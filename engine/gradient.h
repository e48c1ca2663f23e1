#pragma once
// Gradients of tensors: where they gather, and where kernels of the backward pass write them.
#include <memory>
#include <optional>
#include <utility>

#include "engine/tensor.h"

namespace scrawl {

struct Gradient;

/// An operation's wish for the sum over rows of its output's gradient, which is its bias's gradient: who
/// computes that gradient has its values in hand and may yield their sum, too.
struct RowSum {
  std::shared_ptr<Gradient> target;
  bool yielded = false;  // the target has it: no need to take it from the gradient
};

/// An operation's wish that its output's gradient be zero where the output is not positive, which is ReLU's
/// gradient: who computes it may see to that where it writes.
struct Gate {
  Tensor output;
  bool applied = false;  // to all that has flowed in
};

/// An operation's offer to compute the last share of its output's gradient, dy · weight, by its own backward
/// kernel; see Tape::leave().
struct LeftProduct {
  Tensor dy, weight;  // undefined until something is left
};

/// The gradient of one tensor.  `value` stays undefined until something flows in; a parameter's is a place in
/// the arena of gradients, there from the start.
struct Gradient {
  Tensor value;
  bool written = false;  // false: the next kernel overwrites, true: it adds
  bool lent = false;     // the memory may serve other gradients too: copy before adding
  bool beside = false;   // kernels that went aside add to it
  int pending = 0;       // recorded uses of the tensor whose share is not under way yet; see PendingUse
  std::optional<float> of_loss{};            // a loss's: a number known ahead of all kernels, and no value
  std::optional<Device::Aside> under_way{};  // of a share that is computed aside, to be joined ahead of more
  std::shared_ptr<RowSum> row_sum{};         // null when nobody wishes for it
  std::shared_ptr<Gate> gate{};              // the same
  std::shared_ptr<LeftProduct> left{};       // null when nobody offers it
};

/// What is run from here on waits for all that has flowed into a gradient.
void await(Device& device, Gradient& gradient);

/// A loss counts `weight` more in what the backward pass begins with; `slot` may be null.
void add_to_loss(const std::shared_ptr<Gradient>& slot, float weight);

/// Counts in a gradient's slot, which may be null, as long as it lives.
class PendingUse {
 public:
  explicit PendingUse(std::shared_ptr<Gradient> slot) : slot_(std::move(slot)) {
    if (slot_) ++slot_->pending;
  }
  ~PendingUse() {
    if (slot_) --slot_->pending;
  }
  PendingUse(PendingUse&&) = default;
  PendingUse& operator=(PendingUse&&) = delete;

 private:
  std::shared_ptr<Gradient> slot_;
};

/// Where a backward kernel writes: nowhere (data null), over or onto what is there.
struct GradientTarget {
  void* data = nullptr;
  bool accumulate = false;
  float* f32() const { return static_cast<float*>(data); }
};

/// A place for the gradient of a tensor with this shape and type: allocated at first use.  `slot` may be
/// null.  Throws where a share comes so late that the gradient's sum over rows has been yielded without it.
GradientTarget gradient_target(Device& device, const std::shared_ptr<Gradient>& slot, const Shape& shape,
                               DType dtype = DType::f32);

/// The same for a kernel that besides can add what lies elsewhere, and sets to zero what it writes where
/// `gate` is not positive; both may be undefined.
struct ProductTarget : GradientTarget {
  Tensor addend{}, gate{};
};
ProductTarget product_target(Device& device, const std::shared_ptr<Gradient>& slot, const Shape& shape,
                             DType dtype);

/// Where the sum over rows of what is about to flow into `slot` goes, when that is wished for, is all that
/// will flow in, and nothing beside this lane adds to the same.  Call it ahead of gradient_target() and
/// pass_gradient().
GradientTarget row_sum_target(Device& device, const std::shared_ptr<Gradient>& slot, int64_t channels);

/// dx (+)= dy without a copy when nothing has flowed into dx yet: both then share memory until one is added
/// to.
void pass_gradient(Device& device, const std::shared_ptr<Gradient>& slot, const Tensor& dy);

}  // namespace scrawl
