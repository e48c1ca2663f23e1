#pragma once
#include "kernels/cuda/runtime/queue.h"
#include "kernels/launch_shape.h"

namespace scrawl::cuda {

/// Makes room for the kernel's dynamic shared memory.  False for an empty grid; throws std::invalid_argument
/// when the shape breaks a limit.
bool begin_launch(Queue& queue, const LaunchShape& shape, const void* kernel);

/// Throws std::runtime_error if the launch failed; or the kernel, when the queue synchronises after each
/// launch.
void end_launch(Queue& queue, const LaunchShape& shape);

}  // namespace scrawl::cuda
