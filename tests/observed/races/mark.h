#pragma once
#include <cstdint>

#include "tests/observed/races/knowledge.h"

namespace scrawl::simt {

/// An access: by which actor, at which of its clocks, by which instruction.
struct Mark {
  uint32_t actor : 11 = 0;
  uint32_t atomic : 1 = 0;
  uint32_t clock : 20 = 0;  // 0: there was none
  uint32_t code = 0;        // see tests/observed/source.h
};
inline constexpr Clock kLastClock = (1u << 20) - 1;

}  // namespace scrawl::simt
