#include "kernels/cuda/runtime/launch.h"

#include "kernels/cuda/runtime/check.h"

namespace scrawl::cuda {

bool begin_launch(Queue& queue, const LaunchShape& shape, const void* kernel) {
  shape.check();
  if (shape.grid.count() == 0) return false;
  if (shape.shared_bytes > queue.shared_bytes_limit())
    throw std::invalid_argument(
        fmt::format("{}: this GPU has {} for a block", shape.describe(), queue.shared_bytes_limit()));
  constexpr int64_t kWithoutAsking = 48 * 1024;
  if (shape.shared_bytes > kWithoutAsking) queue.allow_shared_bytes(kernel, shape.shared_bytes);
  return true;
}

void end_launch(Queue& queue, const LaunchShape& shape) {
  const auto what = [&] { return shape.describe(); };
  check(cudaGetLastError(), what);
  if (queue.options().synchronise_each_launch) check(cudaStreamSynchronize(queue.stream()), what);
}

}  // namespace scrawl::cuda
