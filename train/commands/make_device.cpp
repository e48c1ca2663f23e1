#include "train/commands/make_device.h"

#include "engine/error.h"

namespace scrawl {

Device::Options device_options(const DeviceOptions& options) {
  if (options.name != "auto" && options.name != "cpu")
    throw InputError("--device {}: this build has the cpu device only", options.name);
  return {.threads = options.threads};
}

}  // namespace scrawl
