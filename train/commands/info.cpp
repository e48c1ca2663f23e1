#include <dnnl.h>
#include <fmt/format.h>

#include "train/commands/commands.h"
#include "train/report/peaks.h"
#ifdef SCRAWL_CUDA
#include "kernels/cuda/runtime/queue.h"
#endif
#ifdef SCRAWL_CUDNN
#include "kernels/cuda/cudnn/queue.h"
#endif

namespace scrawl {
namespace {

/// What a device is and can do, or why it is not there.  The simulator's speed says nothing.
std::string line_of(DeviceKind kind) {
  if (const std::string reason = Device::absence(kind); !reason.empty())
    return fmt::format("no {} device: {}\n", name_of(kind), reason);
  Device device({.kind = kind});
  if (kind == DeviceKind::simt) return fmt::format("device {}\n", device.describe());
  const Peaks peaks = measure_peaks(device);
  return fmt::format("device {}: {:.1f} GB/s streaming, {:.0f} GFLOP/s in matrix products of fp32\n",
                     device.describe(), 1e-9 * peaks.bytes_per_second, 1e-9 * peaks.flops);
}

}  // namespace

int info_command() {
  const dnnl_version_t* dnnl = dnnl_version();
  fmt::print("scrawl {} ({}, compiled by {} for -march={})\n", SCRAWL_VERSION, SCRAWL_BUILD_TYPE,
             SCRAWL_COMPILER, SCRAWL_MARCH);
  for (const DeviceKind kind : {DeviceKind::cpu, DeviceKind::simt, DeviceKind::cuda})
    fmt::print("{}", line_of(kind));
  fmt::print("oneDNN {}.{}.{} ({})\nfmt {}.{}.{}\n", dnnl->major, dnnl->minor, dnnl->patch,
             dnnl->cpu_runtime == DNNL_RUNTIME_OMP ? "OpenMP" : "other threads", FMT_VERSION / 10000,
             FMT_VERSION / 100 % 100, FMT_VERSION % 100);
#ifdef SCRAWL_CUDA
  fmt::print("{}\n", cuda::library_versions());
#endif
#ifdef SCRAWL_CUDNN
  const std::string reason = Device::cudnn_absence();
  fmt::print("{}\n", reason.empty() ? cudnn::library_version() : "no cuDNN: " + reason);
#endif
  return 0;
}

}  // namespace scrawl
