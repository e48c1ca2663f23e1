#pragma once
// Loops over fixed chunks.  How work is cut depends on sizes alone, never on the number of threads, and
// partial sums are added in chunk order: results are the same to the bit for any number of threads.
#include <omp.h>

#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <string>

#include "kernels/cpu/queue.h"
#include "kernels/dtype.h"

namespace scrawl::cpu {

inline int64_t ceil_div(int64_t count, int64_t size) {
  return (count + size - 1) / size;
}

/// CPU kernels compute in fp32 only.
inline void require_f32(DType dtype, std::string_view kernel) {
  if (dtype != DType::f32)
    throw std::invalid_argument(std::string(kernel) + ": the cpu device computes in f32, got " +
                                std::string(name_of(dtype)));
}

/// Calls body(index) for every index in [0, count), on the queue's threads.
template <typename Body>
void parallel_for(Queue& queue, int64_t count, Body body) {
#pragma omp parallel for schedule(dynamic) num_threads(queue.threads())
  for (int64_t index = 0; index < count; ++index) body(index);
}

/// Calls body(begin, end) for consecutive chunks of `grain` items that cover [0, count).
template <typename Body>
void parallel_chunks(Queue& queue, int64_t count, int64_t grain, Body body) {
  parallel_for(queue, ceil_div(count, grain),
               [&](int64_t chunk) { body(chunk * grain, std::min(count, (chunk + 1) * grain)); });
}

/// Items a chunk so that a chunk touches about 64 Ki values of `values_per_item` each: large enough to hide
/// the cost of handing it out, small enough to balance and to stay in the cache.
inline int64_t grain_for(int64_t values_per_item) {
  return std::max<int64_t>(1, 65536 / std::max<int64_t>(1, values_per_item));
}

}  // namespace scrawl::cpu
