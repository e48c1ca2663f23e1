#include "train/commands/make_device.h"

#include "engine/error.h"
#include "train/report/log.h"

namespace scrawl {
namespace {

DeviceKind best_kind() {
  // A build for GPUs was made to use one: say so when there is none.
  if (!Device::built_with(DeviceKind::cuda)) return DeviceKind::cpu;
  const std::string reason = Device::absence(DeviceKind::cuda);
  if (!reason.empty()) log("computing on the processor: {}", reason);
  return reason.empty() ? DeviceKind::cuda : DeviceKind::cpu;
}

DeviceKind kind_of(const std::string& name) {
  if (name == "auto") return best_kind();
  for (const DeviceKind kind : {DeviceKind::cpu, DeviceKind::simt, DeviceKind::cuda})
    if (name == name_of(kind)) return kind;
  throw InputError("--device {}: expected auto, cpu, cuda or simt", name);
}

}  // namespace

Device::Options device_options(const DeviceOptions& options) {
  const DeviceKind kind = kind_of(options.name);
  if (const std::string reason = Device::absence(kind); !reason.empty())
    throw InputError("--device {}: {}", options.name, reason);
  const bool cudnn = options.conv == "cudnn";
  if (cudnn && kind != DeviceKind::cuda)
    throw InputError("--conv cudnn: needs the cuda device, got {}", name_of(kind));
  if (options.portable && kind == DeviceKind::cpu)
    throw InputError("--portable: is for the cuda and simt devices, got {}", name_of(kind));
  return {.kind = kind,
          .threads = options.threads,
          .portable = options.portable,
          .cudnn = cudnn,
          .synchronise_each_launch = options.synchronise};
}

}  // namespace scrawl
