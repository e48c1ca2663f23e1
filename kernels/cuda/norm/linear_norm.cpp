#include "kernels/linear_norm.h"

#include "kernels/cuda/norm/linear_norm_wgmma.cuh"
#include "kernels/cuda/runtime/queue.h"

namespace scrawl::cuda {

namespace {

bool is_one_kernel(const auto& args, const Queue& queue) {
  return queue.compute_capability() == 90 && !queue.options().cublas_only && fits_rows(args);
}

}  // namespace

std::string_view library_of(const LinearNormForward& args, const Queue& queue) {
  return is_one_kernel(args, queue) ? "" : library_of(args.linear, queue);
}

std::string_view library_of(const LinearNormBackward& args, const Queue& queue) {
  return is_one_kernel(args, queue) ? "" : library_of(args.product, queue);
}

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

}  // namespace scrawl::cuda
