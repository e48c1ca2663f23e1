#include "train/evaluation.h"

namespace scrawl {

const Prediction* Evaluation::find(std::string_view name, bool label_free) const {
  for (const Prediction& prediction : predictions)
    if (prediction.name == name && prediction.label_free == label_free) return &prediction;
  return nullptr;
}

}  // namespace scrawl
