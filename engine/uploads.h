#pragma once
#include <memory>

#include "engine/device.h"

namespace scrawl {
namespace cuda {
class Uploads;
}

/// Host memory that a GPU copies from by itself (page-locked); ordinary memory for other devices.
class PinnedMemory {
 public:
  PinnedMemory(Device& device, int64_t bytes);
  std::byte* data() const { return data_.get(); }

 private:
  std::unique_ptr<std::byte, void (*)(std::byte*)> data_;
};

/// Copies from pinned memory to the device beside the kernels: neither they nor the host wait, unless told
/// to. On cpu and simt a copy is done when it was started.
class Uploads {
 public:
  explicit Uploads(Device& device);

  /// Starts a copy; the source must stay as it is until the copy is waited for.
  void start(void* device, const std::byte* pinned, int64_t bytes);
  /// Copies started from here on wait for the kernels launched so far: for memory that those still read.
  void after_kernels();
  /// Kernels launched from here on wait for the copies started so far.
  void before_kernels();

 private:
  std::shared_ptr<cuda::Uploads> on_cuda_;  // null elsewhere
};

}  // namespace scrawl
