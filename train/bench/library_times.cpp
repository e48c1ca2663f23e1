#include "train/bench/library_times.h"

#include <algorithm>

namespace scrawl {

Device::Options by_libraries(Device::Options options) {
  options.cublas_only = true;
  options.cudnn = Device::cudnn_absence().empty();
  return options;
}

void add_library_times(std::vector<KernelTimes>& kernels, const std::vector<KernelTimes>& libraries) {
  for (KernelTimes& kernel : kernels) {
    const auto does_the_same = [&](const KernelTimes& other) {
      return !other.library.empty() && other.kernel == kernel.kernel &&
             other.cost.bytes == kernel.cost.bytes && other.cost.flops == kernel.cost.flops;
    };
    const auto other = std::ranges::find_if(libraries, does_the_same);
    if (!kernel.library.empty())
      kernel.library_median = kernel.median;
    else if (other != libraries.end())
      kernel.library_median = other->median;
  }
}

}  // namespace scrawl
