// The loss of a phase from its parts, and its gradient: a handful of scalars, one thread.
#include "kernels/weighted_sum.h"

#include "kernels/cuda/device/launch.cuh"
#include "kernels/cuda/device/thread.cuh"

namespace scrawl::SCRAWL_GPU {

namespace {

__global__ void forward(WeightedSumForward args) {
  float total = 0.0f;
#pragma unroll
  for (int i = 0; i < WeightedSumForward::kMaxTerms; ++i)
    if (i < args.count) total += args.weights[i] * args.terms[i][0];
  args.total[0] = total;
}

__global__ void backward(WeightedSumBackward args) {
  const float dtotal = args.dtotal[0];
#pragma unroll
  for (int i = 0; i < WeightedSumBackward::kMaxTerms; ++i) {
    if (i >= args.count) break;
    float* const dterm = args.dterms[i];
    *dterm = (args.accumulate[i] ? *dterm : 0.0f) + args.weights[i] * dtotal;
  }
}

}  // namespace

void run(const WeightedSumForward& args, Queue& queue) {
  launch(queue, LaunchShape{.name = args.name, .grid = {1}, .block = {1}}, forward, args);
}

void run(const WeightedSumBackward& args, Queue& queue) {
  launch(queue, LaunchShape{.name = args.name, .grid = {1}, .block = {1}}, backward, args);
}

}  // namespace scrawl::SCRAWL_GPU
