#include "kernels/linear_backward.h"

#include "kernels/cuda/matmul/few_outputs.h"

namespace scrawl::simt {

void run(const RectifiedLinearBackward& args, Queue& queue) {
  has_few_outputs(args) ? go_back_at_once(args, queue) : go_back_by_products(args, queue);
}

}  // namespace scrawl::simt
