#pragma once
#include <string_view>

namespace scrawl::cuda {

/// Names a stretch of time for NVIDIA's profilers (NVTX), as long as it lives.  Next to free while none
/// looks.
class ProfilerRange {
 public:
  explicit ProfilerRange(std::string_view name);
  ~ProfilerRange();
  ProfilerRange(const ProfilerRange&) = delete;
  ProfilerRange& operator=(const ProfilerRange&) = delete;
};

}  // namespace scrawl::cuda
