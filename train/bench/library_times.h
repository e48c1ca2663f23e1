#pragma once
#include <vector>

#include "engine/device.h"
#include "train/bench/step_benchmark.h"

namespace scrawl {

/// The same device, but libraries compute all that they can on it: every product by cuBLASLt, convolutions by
/// cuDNN where it is installed.
Device::Options by_libraries(Device::Options options);

/// Sets library_median from a step that was timed on a device by_libraries().  What a profiler sees as one
/// kernel counts as a whole: a library's convolution with the sum of its bias's gradients and the rounding of
/// its result.
void add_library_times(std::vector<KernelTimes>& kernels, const std::vector<KernelTimes>& libraries);

}  // namespace scrawl
