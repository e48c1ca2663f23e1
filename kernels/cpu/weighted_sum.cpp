// The loss of a phase from its parts: a handful of scalars.
#include "kernels/weighted_sum.h"

namespace scrawl::cpu {

void run(const WeightedSum& args, Queue&) {
  float total = 0.0f;
  for (int i = 0; i < args.count; ++i) total += args.weights[i] * args.terms[i][0];
  args.total[0] = total;
}

}  // namespace scrawl::cpu
