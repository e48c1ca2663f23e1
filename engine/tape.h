#pragma once
#include <functional>
#include <initializer_list>
#include <memory>
#include <utility>
#include <vector>

#include "engine/weight_gradients.h"
#include "kernels/step_state.h"

namespace scrawl {

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
  using BackwardOfLoss = std::function<void(float dloss)>;

  /// `state` lies in device memory and gives seed and step to random operations; null when none is used.
  Tape(Device& device, Mode mode, const StepState* state = nullptr)
      : device_(device), mode_(mode), state_(state), weight_gradients_(device) {}

  Device& device() const { return device_; }
  bool training() const { return mode_ == Mode::train; }
  /// A stream of random numbers for one operation: the n-th of a pass gets the n-th.
  RandomStream next_random() { return {state_, next_stream_++}; }

  /// Notes how to go back from y to its inputs, unless none of them is differentiated.  Call it after y's
  /// values are under way; it gives y its gradient slot.
  void record(Tensor& y, std::initializer_list<const Tensor*> inputs, Backward backward);
  /// The same from two outputs.  The gradient of one that did not reach the loss is undefined.
  void record(Tensor& y, Tensor& z, std::initializer_list<const Tensor*> inputs, BackwardOfTwo backward);

  /// The same from a loss [1], which alone backward() can begin with.  How much it counts there is known
  /// ahead of all kernels, and so are the gradients of sums of losses.
  void record_loss(Tensor& loss, std::initializer_list<const Tensor*> inputs, BackwardOfLoss backward);

  /// Those of linear layers, as far as the list has been walked back.
  WeightGradients& weight_gradients() { return weight_gradients_; }

  /// Where the list ends now.
  size_t position() const { return nodes_.size(); }
  /// Walks the list backwards from a loss, which counts `weight` times, releasing nodes as they are used.
  /// Given a position it stops there: what leads to this loss alone then has its backward pass early and
  /// makes room, and gradients of what was recorded before gather until that is walked.
  void backward(const Tensor& loss, float weight = 1.0f, size_t down_to = 0);

  /// Leaves dy · weight, the last share of the gradient in this slot, to the operation that made its tensor:
  /// if that offers it, and is the next to go back.  Says whether.
  bool leave(const std::shared_ptr<Gradient>& slot, const Tensor& dy, const Tensor& weight) const;

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
    bool is_loss_that_counts() const { return gradient && gradient->of_loss && gradient->written; }
    bool has_left_product() const;
  };
  struct Node {
    Output first, second;
    BackwardOfTwo backward;
    std::vector<PendingUse> uses;
  };
  void walk(size_t down_to);
  bool at_mark() const { return !marks_.empty() && marks_.back() >= nodes_.size(); }

  Device& device_;
  Mode mode_;
  const StepState* state_;
  uint32_t next_stream_ = 0;
  std::vector<Node> nodes_;
  size_t walks_down_to_ = 0;
  WeightGradients weight_gradients_;
  std::vector<size_t> marks_;
  std::function<void()> at_mark_;
};

}  // namespace scrawl
