// The loss of a phase from its parts: a handful of scalars.
#include "kernels/weighted_sum.h"

namespace scrawl::cpu {

void run(const WeightedSumForward& args, Queue&) {
  float total = 0.0f;
  for (int i = 0; i < args.count; ++i) total += args.weights[i] * args.terms[i][0];
  args.total[0] = total;
}

void run(const WeightedSumBackward& args, Queue&) {
  for (int i = 0; i < args.count; ++i) {
    float* const dterm = args.dterms[i];
    *dterm = (args.accumulate[i] ? *dterm : 0.0f) + args.weights[i] * args.dtotal[0];
  }
}

}  // namespace scrawl::cpu
