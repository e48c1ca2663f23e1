#pragma once
#include <cstdint>

namespace scrawl {

/// The processor's memory, aligned to 256 bytes, contents undefined; null when there is no more.  Much memory
/// lies on large pages where Linux has them: kernels go from pixel to pixel and from row to row, where each
/// is on another page of 4 KB, and looking those up takes time.  std::free() gives it back.
void* allocate_host_memory(int64_t bytes);

}  // namespace scrawl
