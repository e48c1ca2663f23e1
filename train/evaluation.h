#pragma once
#include <string>
#include <string_view>
#include <vector>

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

}  // namespace scrawl
