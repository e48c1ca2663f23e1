// The loss of a phase from its parts: a handful of scalars, one thread.
#include "kernels/weighted_sum.h"

#include "kernels/cuda/device/launch.cuh"
#include "kernels/cuda/device/thread.cuh"

namespace scrawl::SCRAWL_GPU {

namespace {

__global__ void add(WeightedSum args) {
  float total = 0.0f;
#pragma unroll
  for (int i = 0; i < WeightedSum::kMaxTerms; ++i)
    if (i < args.count) total += args.weights[i] * args.terms[i][0];
  args.total[0] = total;
}

}  // namespace

void run(const WeightedSum& args, Queue& queue) {
  launch(queue, LaunchShape{.name = args.name, .grid = {1}, .block = {1}}, add, args);
}

}  // namespace scrawl::SCRAWL_GPU
