#pragma once
#include <cstdint>
#include <optional>
#include <vector>

namespace scrawl {

/// Scores of a confusion matrix [classes, classes] (truth, prediction).
struct Scores {
  std::vector<std::optional<double>> iou;  // per class; none when it is neither in the truth nor predicted
  double miou = 0.0;                       // mean over classes that have an IoU
  double pixel_accuracy = 0.0;
};

Scores scores_of(const std::vector<int64_t>& confusion, int classes);

}  // namespace scrawl
