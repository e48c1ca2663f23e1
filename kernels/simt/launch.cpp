#include "kernels/simt/launch.h"

#include <algorithm>
#include <exception>

#include "kernels/simt/block.h"
#include "kernels/simt/observer.h"

namespace scrawl::simt {

void run_grid(Queue& queue, const LaunchShape& shape, void (*call)(const void*), const void* arguments) {
  shape.check();
  const Options& options = queue.options();
  const Job job{shape, options.order, mix(options.seed) + queue.next_launch(), call, arguments};
  const int64_t blocks = shape.grid.count();
  Turns turns(options.order, blocks, job.seed);
  std::exception_ptr fault;
  if (observer) observer->begin_launch(shape.name);
  const int64_t threads = observer ? 1 : std::min<int64_t>(queue.threads(), blocks);
  // A block stays on its thread of the operating system until it ends, so that its fibers do too.
#pragma omp parallel num_threads(static_cast <int>(threads)) if (threads > 1)
  for (bool more = true; more;) {
    int64_t block = 0;
#pragma omp critical(scrawl_simt_turns)
    {
      more = !turns.done() && !fault;
      if (more) block = turns.take();
    }
    if (!more) break;
    try {
      Block::mine().run(job, block);
    } catch (...) {
#pragma omp critical(scrawl_simt_turns)
      if (!fault) fault = std::current_exception();
    }
  }
  if (observer) observer->end_launch();
  if (fault) std::rethrow_exception(fault);
}

}  // namespace scrawl::simt
