#pragma once
#include <cstdint>

namespace scrawl {

/// What a kernel cannot do without: bytes that must move between memory and chip when every operand is
/// read or written once, and floating-point operations.  Profiles and benchmarks compare time with it.
struct Cost {
  int64_t bytes = 0;
  int64_t flops = 0;
};

}  // namespace scrawl
