// Filling a buffer: one pass, bound by memory.
#include "kernels/elementwise.h"

#include <cstring>

#include "kernels/cpu/parallel.h"

namespace scrawl::cpu {

void run(const SetZero& args, Queue& queue) {
  auto* y = static_cast<std::byte*>(args.y);
  parallel_chunks(queue, args.bytes, 4 * grain_for(1),
                  [=](int64_t begin, int64_t end) { std::memset(y + begin, 0, end - begin); });
}

}  // namespace scrawl::cpu
