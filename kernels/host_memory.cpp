#include "kernels/host_memory.h"

#include <cstdlib>
#ifdef __linux__
#include <sys/mman.h>
#endif

namespace scrawl {

void* allocate_host_memory(int64_t bytes) {
  constexpr int64_t kAlignment = 256, kLargePage = int64_t{2} << 20;
  const bool much = bytes >= kLargePage;
  const int64_t unit = much ? kLargePage : kAlignment;
  const int64_t rounded = (bytes + unit - 1) / unit * unit;  // as C wants it
  void* const memory = std::aligned_alloc(unit, rounded);
#ifdef __linux__
  // Refused where there are none, or all memory is on large pages anyway.
  if (memory && much) madvise(memory, rounded, MADV_HUGEPAGE);
#endif
  return memory;
}

}  // namespace scrawl
