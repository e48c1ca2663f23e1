// The loss of a phase from its parts: a handful of scalars.
#include "kernels/weighted_sum.h"

namespace scrawl::cpu {

void run(const WeightedSumForward& args, Queue&) {
  float total = 0.0f;
  for (int i = 0; i < args.count; ++i) total += args.weights[i] * args.terms[i][0];
  args.total[0] = total;
}

void run(const WeightedSumBackward& args, Queue&) {
  args.dterm[0] = (args.accumulate ? args.dterm[0] : 0.0f) + args.weight * args.dtotal[0];
}

}  // namespace scrawl::cpu
