#include "kernels/simt/queue.h"

#include <omp.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>
#include <stdexcept>

#include "kernels/queue.h"
#include "kernels/simt/shared_memory.h"

namespace scrawl::simt {

Queue::Queue(const Options& options)
    : options_(options), threads_(options.threads > 0 ? options.threads : omp_get_num_procs()) {}

void Queue::Free::operator()(float* pointer) const {
  std::free(pointer);
}

float* Queue::Buffer::renewed(int64_t elements) {
  // Allocated anew, of the size asked for, so that the address sanitizer sees stale pointers and steps
  // beyond.
  bytes = std::max<int64_t>(elements, 1) * static_cast<int64_t>(sizeof(float));
  data.reset(static_cast<float*>(std::aligned_alloc(256, (bytes + 255) / 256 * 256)));
  if (!data) throw std::bad_alloc();
  std::memset(data.get(), kUnwritten, bytes);
  return data.get();
}

float* Queue::scratch(int64_t elements) {
  return scratch_.renewed(elements);
}

float* Queue::product_scratch(int64_t elements) {
  return product_scratch_.renewed(elements);
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
