#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "model/pfa.h"
#include "train/evaluation.h"

namespace scrawl {

/// How a model's predictions confuse classes: one confusion matrix each, in device memory, over all batches
/// that were counted.
class Confusions {
 public:
  /// Of all predictions that the model can make: the global ones once its bank is full.
  explicit Confusions(const Pfa& model);
  /// Whether these are still all of them.
  bool complete() const { return global_ == model_.bank().full(); }

  /// Starts again from nothing.
  void clear();
  /// Predicts the classes of a batch and counts its labelled pixels; by kernels alone, so that it can be
  /// captured.
  void count(const DeviceBatch& batch) const;
  /// Notes the size of a batch whose pixels are counted.
  void add_size(const DeviceBatch& batch);
  /// Waits for the device.
  Evaluation result() const;

 private:
  Tensor augmented_logits(Tape& tape, const std::string& name, const Pfa::Prediction& plain,
                          const Tensor& tags) const;

  const Pfa& model_;
  bool global_;
  std::vector<Prediction> predictions_;
  Tensor counts_;  // i64 [predictions,K,K]
  int64_t pixels_ = 0;
  int images_ = 0;
};

}  // namespace scrawl
