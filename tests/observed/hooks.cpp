// How an observer comes to see reads and writes: kernels are compiled for the thread sanitizer, whose calls
// end here instead of in its library, and the linker sends requests for memory through here (--wrap).
#include "kernels/simt/observer.h"

using scrawl::simt::Access;

namespace {

inline void report(const volatile void* p, size_t bytes, Access access, const void* code) {
  if (scrawl::simt::observer) scrawl::simt::observer->access(const_cast<void*>(p), bytes, access, code);
}

}  // namespace

extern "C" {

void* __real_aligned_alloc(size_t alignment, size_t bytes);
void* __wrap_aligned_alloc(size_t alignment, size_t bytes) {
  void* memory = __real_aligned_alloc(alignment, bytes);
  if (memory && scrawl::simt::observer) scrawl::simt::observer->add_memory(memory, bytes);
  return memory;
}

void __real_free(void* memory);
void __wrap_free(void* memory) {
  if (scrawl::simt::observer) scrawl::simt::observer->remove_memory(memory);
  __real_free(memory);
}

// What the compiler calls (GCC, sanitizer.def).
void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void*, void*) {}
void __tsan_read1(void* p) {
  report(p, 1, Access::read, __builtin_return_address(0));
}
void __tsan_read2(void* p) {
  report(p, 2, Access::read, __builtin_return_address(0));
}
void __tsan_read4(void* p) {
  report(p, 4, Access::read, __builtin_return_address(0));
}
void __tsan_read8(void* p) {
  report(p, 8, Access::read, __builtin_return_address(0));
}
void __tsan_read16(void* p) {
  report(p, 16, Access::read, __builtin_return_address(0));
}
void __tsan_read_range(void* p, size_t bytes) {
  report(p, bytes, Access::read, __builtin_return_address(0));
}
void __tsan_write1(void* p) {
  report(p, 1, Access::write, __builtin_return_address(0));
}
void __tsan_write2(void* p) {
  report(p, 2, Access::write, __builtin_return_address(0));
}
void __tsan_write4(void* p) {
  report(p, 4, Access::write, __builtin_return_address(0));
}
void __tsan_write8(void* p) {
  report(p, 8, Access::write, __builtin_return_address(0));
}
void __tsan_write16(void* p) {
  report(p, 16, Access::write, __builtin_return_address(0));
}
void __tsan_write_range(void* p, size_t bytes) {
  report(p, bytes, Access::write, __builtin_return_address(0));
}

// Atomic operations, those that kernels use.  __ATOMIC_SEQ_CST is what the simulator asks for.
using Word = unsigned;
using LongWord = unsigned long long;
Word __tsan_atomic32_load(const volatile Word* p, int) {
  report(p, sizeof *p, Access::atomic, __builtin_return_address(0));
  return __atomic_load_n(p, __ATOMIC_SEQ_CST);
}
Word __tsan_atomic32_fetch_add(volatile Word* p, Word value, int) {
  report(p, sizeof *p, Access::atomic, __builtin_return_address(0));
  return __atomic_fetch_add(p, value, __ATOMIC_SEQ_CST);
}
Word __tsan_atomic32_fetch_sub(volatile Word* p, Word value, int) {
  report(p, sizeof *p, Access::atomic, __builtin_return_address(0));
  return __atomic_fetch_sub(p, value, __ATOMIC_SEQ_CST);
}
LongWord __tsan_atomic64_fetch_add(volatile LongWord* p, LongWord value, int) {
  report(p, sizeof *p, Access::atomic, __builtin_return_address(0));
  return __atomic_fetch_add(p, value, __ATOMIC_SEQ_CST);
}
Word __tsan_atomic32_fetch_or(volatile Word* p, Word value, int) {
  report(p, sizeof *p, Access::atomic, __builtin_return_address(0));
  return __atomic_fetch_or(p, value, __ATOMIC_SEQ_CST);
}
int __tsan_atomic32_compare_exchange_strong(volatile Word* p, Word* expected, Word value, int, int) {
  report(p, sizeof *p, Access::atomic, __builtin_return_address(0));
  return __atomic_compare_exchange_n(p, expected, value, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}
int __tsan_atomic32_compare_exchange_weak(volatile Word* p, Word* expected, Word value, int, int) {
  report(p, sizeof *p, Access::atomic, __builtin_return_address(0));
  return __atomic_compare_exchange_n(p, expected, value, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}
void __tsan_atomic_thread_fence(int) {
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
}
}
