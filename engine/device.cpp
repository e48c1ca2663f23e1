#include "engine/device.h"

#include <cstring>

namespace scrawl {

void Device::upload(void* device, const void* host, int64_t bytes) {
  if (bytes > 0) std::memcpy(device, host, bytes);
}

void Device::download(void* host, const void* device, int64_t bytes) {
  if (bytes > 0) std::memcpy(host, device, bytes);
}

}  // namespace scrawl
