#include "train/metrics.h"

namespace scrawl {

Scores scores_of(const std::vector<int64_t>& confusion, int classes) {
  Scores scores;
  int64_t correct = 0, pixels = 0;
  int counted = 0;
  for (int k = 0; k < classes; ++k) {
    int64_t truth = 0, predicted = 0;
    for (int j = 0; j < classes; ++j) {
      truth += confusion[k * classes + j];
      predicted += confusion[j * classes + k];
    }
    const int64_t both = confusion[k * classes + k], either = truth + predicted - both;
    correct += both;
    pixels += truth;
    if (either == 0) {
      scores.iou.emplace_back();
      continue;
    }
    scores.iou.emplace_back(static_cast<double>(both) / static_cast<double>(either));
    scores.miou += *scores.iou.back();
    ++counted;
  }
  if (counted > 0) scores.miou /= counted;
  if (pixels > 0) scores.pixel_accuracy = static_cast<double>(correct) / static_cast<double>(pixels);
  return scores;
}

}  // namespace scrawl
