#include "tests/fuzz/peak_memory.h"

#include <atomic>
#include <cstdint>

// Of the address sanitizer, where it is there.
extern "C" {
[[gnu::weak]] int __sanitizer_install_malloc_and_free_hooks(void (*)(const volatile void*, size_t),
                                                            void (*)(const volatile void*));
[[gnu::weak]] size_t __sanitizer_get_allocated_size(const volatile void*);
}

namespace scrawl {
namespace {

std::atomic<int64_t> held{0}, most{0};

void on_malloc(const volatile void*, size_t size) {
  const int64_t now = held += static_cast<int64_t>(size);
  for (int64_t before = most; now > before && !most.compare_exchange_weak(before, now);) continue;
}

void on_free(const volatile void* memory) {
  if (memory) held -= static_cast<int64_t>(__sanitizer_get_allocated_size(memory));
}

}  // namespace

size_t peak_memory(const std::function<void()>& work) {
  static const bool counting = __sanitizer_install_malloc_and_free_hooks &&
                               __sanitizer_install_malloc_and_free_hooks(on_malloc, on_free) > 0;
  held = most = 0;
  work();
  return counting ? static_cast<size_t>(most) : 0;
}

}  // namespace scrawl
