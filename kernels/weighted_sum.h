#pragma once
#include <array>
#include <string_view>

#include "kernels/cost.h"
#include "kernels/dtype.h"
#include "kernels/queue.h"

namespace scrawl {

/// total[0] = Σ weights[i] · terms[i][0]: the loss of a phase from its parts.
struct WeightedSumForward {
  static constexpr std::string_view name = "weighted_sum.forward";
  static constexpr int kMaxTerms = 4;
  int count = 0;
  std::array<const float*, kMaxTerms> terms{};
  std::array<float, kMaxTerms> weights{};
  float* total = nullptr;
  Cost cost() const { return {4 * (count + 1), 2 * count}; }
};

/// dterm[0] (+)= weight · dtotal[0].
struct WeightedSumBackward {
  static constexpr std::string_view name = "weighted_sum.backward";
  float weight = 0.0f;
  const float* dtotal = nullptr;
  float* dterm = nullptr;
  bool accumulate = false;
  Cost cost() const { return {8, 2}; }
};

namespace cpu {
void run(const WeightedSumForward&, Queue&);
void run(const WeightedSumBackward&, Queue&);
}  // namespace cpu
namespace cuda {
void run(const WeightedSumForward&, Queue&);
void run(const WeightedSumBackward&, Queue&);
}  // namespace cuda
namespace simt {
void run(const WeightedSumForward&, Queue&);
void run(const WeightedSumBackward&, Queue&);
}  // namespace simt

}  // namespace scrawl
