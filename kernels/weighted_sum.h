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

/// dterms[i][0] (+)= weights[i] · dtotal[0], one after the other.
struct WeightedSumBackward {
  static constexpr std::string_view name = "weighted_sum.backward";
  static constexpr int kMaxTerms = WeightedSumForward::kMaxTerms;
  int count = 0;
  std::array<float, kMaxTerms> weights{};
  const float* dtotal = nullptr;
  std::array<float*, kMaxTerms> dterms{};
  std::array<bool, kMaxTerms> accumulate{};
  Cost cost() const { return {4 * (count + 1), 2 * count}; }
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
