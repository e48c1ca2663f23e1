#pragma once
#include <cstddef>
#include <cstdint>
#include <string>

#include "kernels/simt/fault.h"

namespace scrawl::simt {

/// A GPU cannot load several values at once from an address that is not a multiple of their size.
inline void check_aligned(const void* address, size_t alignment) {
  if (reinterpret_cast<uintptr_t>(address) % alignment != 0)
    fail("accesses " + std::to_string(alignment) + " bytes at an address that is not a multiple of them");
}

}  // namespace scrawl::simt
