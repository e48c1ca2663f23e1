// Counts by three doors that leave the simulator as it is: kernels are compiled for the thread sanitizer,
// whose calls for every read and write end here instead of in its library; the linker sends requests for
// memory and launches of grids through here (--wrap).  What is not the device's memory is not counted:
// threads' own variables, shared memory, constants.
#include <iterator>
#include <map>
#include <vector>

#include "kernels/simt/block.h"
#include "kernels/simt/launch.h"
#include "tests/accesses/accesses.h"

namespace scrawl {
namespace {

constexpr uintptr_t kSector = 32;  // bytes that a GPU moves at least

/// Memory that came from the system in one piece, with the last launch that read or wrote each sector.
struct Region {
  uintptr_t end;
  std::vector<uint32_t> read, written;
};

struct Counter {
  std::map<uintptr_t, Region> regions;  // by their beginning
  std::map<std::string, Accesses> by_kernel;
  Accesses* running = nullptr;  // null outside of kernels
  uint32_t launch = 0;
};
Counter& counter() {
  static Counter counter;
  return counter;
}

void add_region(void* memory, size_t bytes) {
  const auto begin = reinterpret_cast<uintptr_t>(memory);
  // What overlaps it was given back.
  std::erase_if(counter().regions,
                [&](const auto& old) { return begin < old.second.end && old.first < begin + bytes; });
  const size_t sectors = bytes / kSector + 1;
  counter().regions.emplace(
      begin, Region{begin + bytes, std::vector<uint32_t>(sectors), std::vector<uint32_t>(sectors)});
}

void access(const void* pointer, size_t bytes, bool write) {
  Counter& c = counter();
  if (!c.running || bytes == 0 || simt::Block::current().shared_memory().contains(pointer, 1)) return;
  const auto address = reinterpret_cast<uintptr_t>(pointer);
  auto after = c.regions.upper_bound(address);
  if (after == c.regions.begin()) return;
  auto& [begin, region] = *std::prev(after);
  if (address >= region.end) return;
  c.running->bytes += static_cast<int64_t>(bytes);
  std::vector<uint32_t>& seen = write ? region.written : region.read;
  for (uintptr_t sector = (address - begin) / kSector; sector <= (address + bytes - 1 - begin) / kSector;
       ++sector) {
    if (seen[sector] == c.launch) continue;
    seen[sector] = c.launch;
    c.running->touched += kSector;
  }
}

}  // namespace

const std::map<std::string, Accesses>& counted_accesses() {
  return counter().by_kernel;
}

}  // namespace scrawl

extern "C" {

void* __real_aligned_alloc(size_t alignment, size_t bytes);
void* __wrap_aligned_alloc(size_t alignment, size_t bytes) {
  void* memory = __real_aligned_alloc(alignment, bytes);
  scrawl::add_region(memory, bytes);
  return memory;
}

// Asynchronous copies end in it.
void* __real_memcpy(void* to, const void* from, size_t bytes);
void* __wrap_memcpy(void* to, const void* from, size_t bytes) {
  scrawl::access(from, bytes, false);
  scrawl::access(to, bytes, true);
  return __real_memcpy(to, from, bytes);
}

using Call = void (*)(const void*);
// scrawl::simt::run_grid
void __real__ZN6scrawl4simt8run_gridERNS0_5QueueERKNS_11LaunchShapeEPFvPKvES7_(scrawl::simt::Queue&,
                                                                               const scrawl::LaunchShape&,
                                                                               Call, const void*);
void __wrap__ZN6scrawl4simt8run_gridERNS0_5QueueERKNS_11LaunchShapeEPFvPKvES7_(
    scrawl::simt::Queue& queue, const scrawl::LaunchShape& shape, Call call, const void* arguments) {
  scrawl::Counter& c = scrawl::counter();
  c.running = &c.by_kernel[std::string(shape.name)];
  ++c.running->launches;
  ++c.launch;
  __real__ZN6scrawl4simt8run_gridERNS0_5QueueERKNS_11LaunchShapeEPFvPKvES7_(queue, shape, call, arguments);
  c.running = nullptr;
}

// What the compiler calls (GCC, sanitizer.def).
void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void*, void*) {}
void __tsan_read1(void* p) {
  scrawl::access(p, 1, false);
}
void __tsan_read2(void* p) {
  scrawl::access(p, 2, false);
}
void __tsan_read4(void* p) {
  scrawl::access(p, 4, false);
}
void __tsan_read8(void* p) {
  scrawl::access(p, 8, false);
}
void __tsan_read16(void* p) {
  scrawl::access(p, 16, false);
}
void __tsan_read_range(void* p, size_t bytes) {
  scrawl::access(p, bytes, false);
}
void __tsan_write1(void* p) {
  scrawl::access(p, 1, true);
}
void __tsan_write2(void* p) {
  scrawl::access(p, 2, true);
}
void __tsan_write4(void* p) {
  scrawl::access(p, 4, true);
}
void __tsan_write8(void* p) {
  scrawl::access(p, 8, true);
}
void __tsan_write16(void* p) {
  scrawl::access(p, 16, true);
}
void __tsan_write_range(void* p, size_t bytes) {
  scrawl::access(p, bytes, true);
}

// Atomic operations, of which the simulator has such of four bytes.  __ATOMIC_SEQ_CST is what it asks for.
using Word = unsigned;
Word __tsan_atomic32_load(const volatile Word* p, int) {
  scrawl::access(const_cast<const Word*>(p), sizeof(Word), false);
  return __atomic_load_n(p, __ATOMIC_SEQ_CST);
}
int __tsan_atomic32_compare_exchange_strong(volatile Word* p, Word* expected, Word value, int, int) {
  scrawl::access(const_cast<Word*>(p), sizeof(Word), true);
  return __atomic_compare_exchange_n(p, expected, value, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}
int __tsan_atomic32_compare_exchange_weak(volatile Word* p, Word* expected, Word value, int, int) {
  return __tsan_atomic32_compare_exchange_strong(p, expected, value, 0, 0);
}
void __tsan_atomic_thread_fence(int) {
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
}
}
