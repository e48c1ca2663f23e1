#include "kernels/simt/queue.h"

#include <omp.h>

#include <algorithm>
#include <cstdlib>
#include <new>
#include <stdexcept>

#include "kernels/queue.h"
#include "kernels/simt/observer.h"
#include "kernels/simt/shared_memory.h"

namespace scrawl::simt {

namespace {

/// Allocated anew for each request, so that the address sanitizer sees stale pointers and steps beyond.
class Heap final : public MemorySource {
 public:
  std::byte* allocate(int64_t bytes) override {
    void* block = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
    if (!block) throw std::bad_alloc();
    return static_cast<std::byte*>(block);
  }
  void release(std::byte* block) override { std::free(block); }
};

MemorySource& heap() {
  static Heap heap;
  return heap;
}

}  // namespace

Queue::Queue(MemorySource& memory, const Options& options)
    : memory_(memory),
      options_(options),
      threads_(options.threads > 0 ? options.threads : omp_get_num_procs()) {}

Queue::Queue(const Options& options) : Queue(heap(), options) {}

Scratch Queue::scratch(int64_t elements) {
  Scratch scratch(beside_ ? static_cast<MemorySource&>(*beside_) : memory_, elements);
  std::fill_n(reinterpret_cast<unsigned char*>(scratch.data()), elements * sizeof(float), kUnwritten);
  return scratch;
}

void Queue::begin_aside() {
  beside_ = &aside_.emplace_back(memory_);
  if (observer) observer->begin_aside();
}

void Queue::begin_background() {
  beside_ = &background_.emplace_back(memory_);
  if (observer) observer->begin_background();
}

void Queue::turn_back() {
  beside_ = nullptr;
  if (observer) observer->turn_back();
}

void Queue::join() {
  aside_.clear();
  background_.clear();
  if (observer) observer->join();
}

void Queue::join_oldest_aside() {
  if (aside_.empty()) return;
  aside_.pop_front();
  if (observer) observer->join_oldest_aside();
}

unsigned* Queue::counters(int64_t count) {
  if (count > kCounters)
    throw std::invalid_argument("a kernel asks for more counters than a GPU's queue has");
  if (std::ranges::any_of(counters_, [](unsigned counter) { return counter != 0; }))
    throw std::logic_error("a kernel has left a counter that is not zero");
  counters_.assign(count, 0);
  return counters_.data();
}

}  // namespace scrawl::simt
