#include "kernels/linear_norm.h"

namespace scrawl::cpu {

void run(const LinearNormForward& args, Queue& queue) {
  run(args.linear, queue);
  run(args.norm, queue);
}

void run(const LinearNormBackward& args, Queue& queue) {
  run(args.product, queue);
  run(args.norm, queue);
}

}  // namespace scrawl::cpu
