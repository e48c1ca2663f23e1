#pragma once
#include <string>

#include "engine/device.h"

namespace scrawl {

/// One table a part of the program, and in it a line a kernel: calls, time, GB/s, GFLOP/s, and the share of
/// the time that the measured peaks would have needed for the kernel's cost (the larger of bytes and
/// operations).
std::string profile_table(const Profiler& profiler, Device& device);

}  // namespace scrawl
