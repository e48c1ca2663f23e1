#include "train/schedule.h"

#include <algorithm>
#include <cmath>

namespace scrawl {

float lr_factor(LrPolicy policy, int epoch, int epochs) {
  if (policy == LrPolicy::kStep) return static_cast<float>(std::pow(0.1, epoch / std::max(1, epochs / 3)));
  return static_cast<float>(1.0 - static_cast<double>(epoch) / (epochs + 1));
}

}  // namespace scrawl
