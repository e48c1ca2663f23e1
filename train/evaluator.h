#pragma once
#include <functional>
#include <optional>

#include "model/pfa.h"
#include "train/batch_source.h"
#include "train/confusions.h"

namespace scrawl {

/// Scores a model on validation batches, single scale, as published: all labelled pixels of centre crops go
/// into one confusion matrix a prediction.  The global predictions are there once the bank is full.
class Evaluator {
 public:
  /// Both must outlive it.
  Evaluator(const Pfa& model, BatchSource& batches) : model_(model), batches_(batches) {}

  /// One pass over the batches.  The first full batch of all passes runs kernel by kernel, the second is
  /// captured, and from then on full batches are replayed; that starts over when the global predictions are
  /// added.  A smaller last batch always runs kernel by kernel.  `progress(done, total)` is called after
  /// every batch, which a GPU may still be working on.
  Evaluation run(const std::function<void(int, int)>& progress = {});

  /// Whether run() captures, unless each launch is watched; without, every kernel is launched for itself.
  void use_graphs(bool use) { graphs_ = use; }

 private:
  /// What is replayed for full batches.
  struct Captured {
    size_t tags = 0;  // of a full batch, once one has run
    Graph graph;
    DeviceBatch batch;
  };

  void start();
  DeviceBatch count_next();
  DeviceBatch count(const DeviceBatch& batch) const;

  const Pfa& model_;
  BatchSource& batches_;
  std::optional<Confusions> confusions_;
  bool graphs_ = true;
  Captured captured_;
};

/// The same over whole images one by one instead of centre crops, always kernel by kernel.
Evaluation evaluate_whole_images(const Pfa& model, const Dataset& dataset,
                                 const std::function<void(int, int)>& progress = {});

/// The class of every pixel of one image, whatever its size.
LabelMap predict_image(const Pfa& model, const Image& image);

}  // namespace scrawl
