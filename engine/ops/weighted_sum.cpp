#include "kernels/weighted_sum.h"

#include "engine/ops.h"

namespace scrawl::ops {

Tensor weighted_sum(Tape& tape, const std::vector<Term>& terms) {
  require(!terms.empty() && terms.size() <= WeightedSumForward::kMaxTerms, "weighted_sum: {} terms",
          terms.size());
  Tensor total(tape.device(), {1});
  WeightedSumForward sum{.count = static_cast<int>(terms.size()), .total = total.data<float>()};
  for (size_t i = 0; i < terms.size(); ++i) {
    sum.terms[i] = terms[i].loss.data<float>();
    sum.weights[i] = terms[i].weight;
  }
  tape.device().aside([sum, terms, total, &device = tape.device()] { device.run(sum); });

  // One node would need a list of inputs as long as the terms; each term is its own input.
  std::vector<std::pair<std::shared_ptr<Gradient>, float>> gradients;
  const Tensor* differentiated = &terms[0].loss;
  for (const Term& term : terms) {
    gradients.emplace_back(term.loss.gradient(), term.weight);
    if (term.loss.gradient()) differentiated = &term.loss;
  }
  tape.record(total, {differentiated}, [gradients, &device = tape.device()](const Tensor& dtotal) {
    WeightedSumBackward parts{.dtotal = dtotal.data<float>()};
    for (const auto& [slot, weight] : gradients) {
      const auto to = gradient_target(device, slot, {1});
      if (!to.data) continue;
      const int i = parts.count++;
      parts.weights[i] = weight;
      parts.dterms[i] = to.f32();
      parts.accumulate[i] = to.accumulate;
    }
    device.run(parts);
  });
  return total;
}

}  // namespace scrawl::ops
