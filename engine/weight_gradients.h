#pragma once
#include <vector>

#include "engine/gradient.h"

namespace scrawl {

/// db (+)= Σ_rows dy, for those whose weight's gradient does not bring it along.
void add_bias_gradient(Device& device, const Tensor& dy, const GradientTarget& db);

/// Weight gradients of linear layers on the way back.  No kernel of the backward pass waits for them, and
/// alone most would leave a GPU idle that is large: they gather until there is enough to do, and go aside
/// together (Device::aside).
class WeightGradients {
 public:
  explicit WeightGradients(Device& device) : device_(device) {}

  /// dW (+)= dyᵀ x, and db (+)= Σ_rows dy unless `bias` is null.  x and dy are [rows, in] and [rows, out] or
  /// of more dimensions; they stay until that is done.  The weight must not come from an operation that goes
  /// back itself: its gradient may be complete only when the walk has ended.
  void add(const Tensor& x, const Tensor& dy, const Tensor& weight, const std::shared_ptr<Gradient>& bias);
  /// All that has gathered is under way.
  void start();

 private:
  struct Layer {
    Tensor x, dy;
    std::shared_ptr<Gradient> weight, bias;
    Shape weight_shape;
  };
  static void launch(Device& device, const std::vector<Layer>& layers);

  Device& device_;
  std::vector<Layer> layers_;
  std::vector<PendingUse> uses_;  // of weights and biases
  int64_t operand_bytes_ = 0, terms_ = 0;
};

}  // namespace scrawl
