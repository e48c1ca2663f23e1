#include "kernels/linear_norm.h"

#include "kernels/cuda/norm/linear_norm_wgmma.cuh"
#include "kernels/simt/queue.h"

namespace scrawl::simt {

namespace {

bool is_one_kernel(const auto& args, const Queue& queue) {
  return queue.compute_capability() == 90 && fits_rows(args);
}

}  // namespace

void run(const LinearNormForward& args, Queue& queue) {
  if (is_one_kernel(args, queue)) return run_by_rows(args, queue);
  run(args.linear, queue);
  run(args.norm, queue);
}

void run(const LinearNormBackward& args, Queue& queue) {
  if (is_one_kernel(args, queue)) return run_by_rows(args, queue);
  run(args.product, queue);
  run(args.norm, queue);
}

}  // namespace scrawl::simt
