#pragma once
#include <functional>
#include <initializer_list>
#include <memory>
#include <utility>
#include <vector>

#include "engine/tensor.h"
#include "kernels/step_state.h"

namespace scrawl {

struct Gradient;

/// An operation's wish for the sum over rows of its output's gradient, which is its bias's gradient: who
/// computes that gradient has its values in hand and may yield their sum, too.
struct RowSum {
  std::shared_ptr<Gradient> target;
  bool yielded = false;  // the target has it: no need to take it from the gradient
};

/// The gradient of one tensor.  `value` stays undefined until something flows in; a parameter's is a place in
/// the arena of gradients, there from the start.
struct Gradient {
  Tensor value;
  bool written = false;  // false: the next kernel overwrites, true: it adds
  bool lent = false;     // the memory may serve other gradients too: copy before adding
  bool beside = false;   // kernels that went aside add to it
  int pending = 0;       // recorded uses of the tensor whose share is not under way yet; see PendingUse
  std::shared_ptr<RowSum> row_sum{};  // null when nobody wishes for it
};

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

/// One forward pass and, when it records, the list of what to do backwards.
/// Every operation takes the tape first: it knows the device, whether the model trains (batch statistics,
/// dropout) and where random numbers come from.
class Tape {
 public:
  enum class Mode {
    evaluate,  // running statistics, no dropout, nothing recorded
    train,     // batch statistics, dropout, recorded
  };
  using Backward = std::function<void(const Tensor& dy)>;
  using BackwardOfTwo = std::function<void(const Tensor& dy, const Tensor& dz)>;

  /// `state` lies in device memory and gives seed and step to random operations; null when none is used.
  Tape(Device& device, Mode mode, const StepState* state = nullptr)
      : device_(device), mode_(mode), state_(state) {}

  Device& device() const { return device_; }
  bool training() const { return mode_ == Mode::train; }
  /// A stream of random numbers for one operation: the n-th of a pass gets the n-th.
  RandomStream next_random() { return {state_, next_stream_++}; }

  /// Notes how to go back from y to its inputs, unless none of them is differentiated.  Call it after y's
  /// values are under way; it gives y its gradient slot.
  void record(Tensor& y, std::initializer_list<const Tensor*> inputs, Backward backward);
  /// The same from two outputs.  The gradient of one that did not reach the loss is undefined.
  void record(Tensor& y, Tensor& z, std::initializer_list<const Tensor*> inputs, BackwardOfTwo backward);

  /// Where the list ends now.
  size_t position() const { return nodes_.size(); }
  /// Walks the list backwards from a loss of one element, which counts `weight` times, releasing nodes as
  /// they are used.  Given a position it stops there: what leads to this loss alone then has its backward
  /// pass early and makes room, and gradients of what was recorded before gather until that is walked.
  void backward(const Tensor& loss, float weight = 1.0f, size_t down_to = 0);

  /// A place on the way back: when the walk arrives there, everything that was recorded after it has gone
  /// back, and what at_marks() was given is called, for work that need not wait for the rest.
  void mark() { marks_.push_back(position()); }
  void at_marks(std::function<void()> call) { at_mark_ = std::move(call); }

 private:
  struct Output {
    std::shared_ptr<Gradient> gradient;  // null where a node has no second output
    Shape shape;

    static Output of(Tensor& y);
    Tensor take_gradient() const;
  };
  struct Node {
    Output first, second;
    BackwardOfTwo backward;
    std::vector<PendingUse> uses;
  };
  void walk(size_t down_to);

  Device& device_;
  Mode mode_;
  const StepState* state_;
  uint32_t next_stream_ = 0;
  std::vector<Node> nodes_;
  std::vector<size_t> marks_;
  std::function<void()> at_mark_;
};

/// A place for the gradient of a tensor with this shape and type: allocated at first use.  `slot` may be
/// null.
GradientTarget gradient_target(Device& device, const std::shared_ptr<Gradient>& slot, const Shape& shape,
                               DType dtype = DType::f32);

/// Where the sum over rows of what is about to flow into `slot` goes, when that is wished for, is all that
/// will flow in, and nothing beside this lane adds to the same.  Call it ahead of gradient_target() and
/// pass_gradient().
GradientTarget row_sum_target(Device& device, const std::shared_ptr<Gradient>& slot, int64_t channels);

/// dx (+)= dy without a copy when nothing has flowed into dx yet: both then share memory until one is added
/// to.
void pass_gradient(Device& device, const std::shared_ptr<Gradient>& slot, const Tensor& dy);

}  // namespace scrawl
