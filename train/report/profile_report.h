#pragma once
#include <string>

#include "engine/device.h"

namespace scrawl {

/// What a device can do at best, measured by running it.
struct Peaks {
  double bytes_per_second = 0.0;  // streaming through memory, read and written bytes together
  double flops = 0.0;             // of a large matrix product
};
Peaks measure_peaks(Device& device);

/// A line a kernel: calls, time, GB/s, GFLOP/s, and the share of the time that the measured peaks would have
/// needed for the kernel's cost (the larger of bytes and operations).
std::string profile_table(const Profiler& profiler, Device& device);

}  // namespace scrawl
