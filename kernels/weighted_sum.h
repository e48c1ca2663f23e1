#pragma once
#include <array>
#include <string_view>

#include "kernels/cost.h"
#include "kernels/dtype.h"
#include "kernels/queue.h"

namespace scrawl {

/// total[0] = Σ weights[i] · terms[i][0]: the loss of a phase from its parts.
struct WeightedSum {
  static constexpr std::string_view name = "weighted_sum";
  static constexpr int kMaxTerms = 4;
  int count = 0;
  std::array<const float*, kMaxTerms> terms{};
  std::array<float, kMaxTerms> weights{};
  float* total = nullptr;
  Cost cost() const { return {4 * (count + 1), 2 * count}; }
};

namespace cpu {
void run(const WeightedSum&, Queue&);
}  // namespace cpu
namespace cuda {
void run(const WeightedSum&, Queue&);
}  // namespace cuda
namespace simt {
void run(const WeightedSum&, Queue&);
}  // namespace simt

}  // namespace scrawl
