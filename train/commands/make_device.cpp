#include "train/commands/make_device.h"

#include "engine/error.h"

namespace scrawl {
namespace {

DeviceKind kind_of(const std::string& name) {
  if (name == "auto" || name == "cpu") return DeviceKind::cpu;
  if (name == "simt") return DeviceKind::simt;
  if (name == "cuda") return DeviceKind::cuda;
  throw InputError("--device {}: expected auto, cpu, cuda or simt", name);
}

}  // namespace

Device::Options device_options(const DeviceOptions& options) {
  return {.kind = kind_of(options.name), .threads = options.threads};
}

}  // namespace scrawl
