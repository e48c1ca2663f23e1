#include <dnnl.h>
#include <fmt/format.h>

#include <thread>

#include "train/commands/commands.h"
#include "train/report/profile_report.h"

namespace scrawl {
namespace {

/// Whether a device can be opened here, and if not, why.
std::string has_device(DeviceKind kind) {
  try {
    return fmt::format("available, {} threads", Device({.kind = kind}).threads());
  } catch (const std::exception& error) {
    return error.what();
  }
}

}  // namespace

int info_command() {
  Device device;
  const Peaks peaks = measure_peaks(device);
  const dnnl_version_t* dnnl = dnnl_version();
  fmt::print("scrawl {} ({}, compiled by {} for -march={})\n", SCRAWL_VERSION, SCRAWL_BUILD_TYPE,
             SCRAWL_COMPILER, SCRAWL_MARCH);
  fmt::print("device cpu: {} threads, {:.1f} GB/s streaming, {:.0f} GFLOP/s in matrix products\n",
             device.threads(), 1e-9 * peaks.bytes_per_second, 1e-9 * peaks.flops);
  fmt::print("device simt: {}\ndevice cuda: {}\n", has_device(DeviceKind::simt),
             has_device(DeviceKind::cuda));
  fmt::print("oneDNN {}.{}.{} ({})\nfmt {}.{}.{}\n", dnnl->major, dnnl->minor, dnnl->patch,
             dnnl->cpu_runtime == DNNL_RUNTIME_OMP ? "OpenMP" : "other threads", FMT_VERSION / 10000,
             FMT_VERSION / 100 % 100, FMT_VERSION % 100);
  return 0;
}

}  // namespace scrawl
