#include "kernels/cuda/runtime/launch.h"

#include "kernels/cuda/runtime/check.h"

namespace scrawl::cuda {

bool begin_launch(Queue& queue, const LaunchShape& shape, const void* kernel) {
  shape.check();
  if (shape.grid.count() == 0) return false;
  if (shape.shared_bytes > queue.shared_bytes_limit())
    throw std::invalid_argument(
        fmt::format("{}: this GPU has {} for a block", shape.describe(), queue.shared_bytes_limit()));
  // 48 KB are granted without asking, but static arrays count, too.
  if (shape.shared_bytes > 0) queue.allow_shared_bytes(kernel, shape.shared_bytes);
  return true;
}

void end_launch(Queue& queue, const LaunchShape& shape) {
  const auto what = [&] { return shape.describe(); };
  check(cudaGetLastError(), what);
  if (queue.options().synchronise_each_launch) check(cudaStreamSynchronize(queue.stream()), what);
}

}  // namespace scrawl::cuda
