#pragma once
#include <functional>
#include <string>
#include <vector>

#include "model/pfa.h"
#include "train/batch_source.h"
#include "train/metrics.h"

namespace scrawl {

/// One way to predict, and how well it did.
struct Prediction {
  std::string name;  // "without", "local" or "global"
  /// Without augmentation nothing but the image is looked at.  Local and global predictions choose their
  /// prototypes by tags: those of the ground truth, as published, leak labels; those of the plain prediction
  /// do not.
  bool label_free = true;
  Scores scores;

  std::string title() const { return label_free ? name : name + " (true tags)"; }
};

struct Evaluation {
  std::vector<Prediction> predictions;
  int images = 0;
  double labelled_share = 1.0;  // of pixels; dense masks label nearly all

  const Prediction* find(std::string_view name, bool label_free) const;
  /// The plain prediction, which needs no tags.
  const Scores& plain() const { return predictions.front().scores; }
};

/// Scores a model on validation batches, single scale, as published: all labelled pixels of centre crops go
/// into one confusion matrix a prediction.  The global predictions are there once the bank is full.
/// `progress(done, total)` is called after every batch.
Evaluation evaluate(const Pfa& model, BatchSource& batches,
                    const std::function<void(int, int)>& progress = {});

/// As above, over whole images one by one instead of centre crops.
Evaluation evaluate_whole_images(const Pfa& model, const Dataset& dataset,
                                 const std::function<void(int, int)>& progress = {});

/// The class of every pixel of one image, whatever its size.
LabelMap predict_image(const Pfa& model, const Image& image);

}  // namespace scrawl
