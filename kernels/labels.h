#pragma once
#include <cstdint>

namespace scrawl {

/// The value of label maps where no class is known.
inline constexpr uint8_t kUnlabelled = 255;

}  // namespace scrawl
