#include "kernels/linear_backward.h"

#include "kernels/cuda/matmul/few_outputs.h"
#include "kernels/cuda/runtime/queue.h"

namespace scrawl::cuda {

namespace {

bool is_ours(const RectifiedLinearBackward& args, const Queue& queue) {
  return !queue.options().cublas_only && has_few_outputs(args);
}

}  // namespace

std::string_view library_of(const RectifiedLinearBackward& args, const Queue& queue) {
  return is_ours(args, queue) ? "" : "cuBLASLt";
}

void run(const RectifiedLinearBackward& args, Queue& queue) {
  is_ours(args, queue) ? go_back_at_once(args, queue) : go_back_by_products(args, queue);
}

}  // namespace scrawl::cuda
