#include "kernels/weighted_sum.h"

#include "engine/ops.h"

namespace scrawl::ops {

Tensor weighted_sum(Tape& tape, const std::vector<Term>& terms) {
  require(!terms.empty() && terms.size() <= WeightedSum::kMaxTerms, "weighted_sum: {} terms", terms.size());
  Tensor total(tape.device(), {1});
  WeightedSum sum{.count = static_cast<int>(terms.size()), .total = total.data<float>()};
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
  tape.record_loss(total, {differentiated}, [gradients](float dtotal) {
    for (const auto& [slot, weight] : gradients) add_to_loss(slot, dtotal * weight);
  });
  return total;
}

}  // namespace scrawl::ops
