#include "kernels/cuda/launch.h"

#include <nvtx3/nvToolsExt.h>

#include "kernels/cuda/check.h"

namespace scrawl::cuda {

bool begin_launch(Queue& queue, const LaunchShape& shape, const void* kernel) {
  shape.check();
  if (shape.grid.count() == 0) return false;
  if (shape.shared_bytes > queue.shared_bytes_limit())
    throw std::invalid_argument(shape.describe() + ": this GPU has " +
                                std::to_string(queue.shared_bytes_limit()) + " for a block");
  constexpr int64_t kWithoutAsking = 48 * 1024;
  if (shape.shared_bytes > kWithoutAsking)
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                               static_cast<int>(shape.shared_bytes)),
          shape.describe());
  nvtxRangePushA(std::string(shape.name).c_str());
  return true;
}

void end_launch(Queue& queue, const LaunchShape& shape) {
  nvtxRangePop();
  check(cudaGetLastError(), shape.describe());
  if (queue.options().synchronise_each_launch) check(cudaStreamSynchronize(queue.stream()), shape.describe());
}

}  // namespace scrawl::cuda
