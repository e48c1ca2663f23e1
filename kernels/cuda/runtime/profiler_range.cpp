#include "kernels/cuda/runtime/profiler_range.h"

#include <nvtx3/nvToolsExt.h>

#include <string>

namespace scrawl::cuda {

ProfilerRange::ProfilerRange(std::string_view name) {
  nvtxRangePushA(std::string(name).c_str());
}

ProfilerRange::~ProfilerRange() {
  nvtxRangePop();
}

}  // namespace scrawl::cuda
