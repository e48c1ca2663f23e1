#include "kernels/cpu/queue.h"

#include <omp.h>

#include <cstdlib>
#include <new>

#include "kernels/host_memory.h"

namespace scrawl::cpu {

Queue::Queue(int threads) : threads_(threads > 0 ? threads : omp_get_num_procs()) {}

void Queue::Free::operator()(float* pointer) const {
  std::free(pointer);
}

float* Queue::scratch(int64_t elements) {
  if (elements > capacity_) {
    scratch_.reset();
    const int64_t rounded = (elements + 1023) / 1024 * 1024;
    scratch_.reset(static_cast<float*>(allocate_host_memory(rounded * sizeof(float))));
    if (!scratch_) throw std::bad_alloc();
    capacity_ = rounded;
  }
  return scratch_.get();
}

void Queue::release_scratch() {
  scratch_.reset();
  capacity_ = 0;
}

}  // namespace scrawl::cpu
