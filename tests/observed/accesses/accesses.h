#pragma once
// What the simulated kernels read and write of the device's memory.
#include <cstdint>
#include <map>
#include <string>

#include "tests/observed/accesses/patterns.h"

namespace scrawl {

struct Accesses {
  int64_t launches = 0;
  int64_t bytes = 0;    // of every access
  int64_t touched = 0;  // bytes of the sectors that a launch reads, and of those that it writes, each once
  Patterns patterns;    // of each launch's first and middle block
};

/// Ahead of the first device, whose memory is to be known.
void start_counting();

/// So far, by name of the kernel.
const std::map<std::string, Accesses>& counted_accesses();

}  // namespace scrawl
