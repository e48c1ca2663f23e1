#include "data/for_each_index.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace scrawl {

void for_each_index(int count, const std::function<void(int)>& work, const ProgressCallback& progress,
                    int threads) {
  std::atomic<int> next{0};
  std::mutex mutex;  // guards the next three
  int done = 0, failed = count;
  std::exception_ptr failure;
  const auto work_along = [&] {
    int i = 0;
    try {
      for (i = next++; i < count; i = next++) {
        work(i);
        const std::lock_guard lock(mutex);
        ++done;
        if (progress) progress(done, count);
      }
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (i < failed) failure = std::current_exception();
      failed = std::min(failed, i);
      next = count;
    }
  };
  {
    const int available = threads > 0 ? threads : static_cast<int>(std::thread::hardware_concurrency());
    std::vector<std::jthread> workers;
    for (int w = 0; w < std::clamp(available, 1, std::max(count, 1)); ++w) workers.emplace_back(work_along);
  }
  if (failure) std::rethrow_exception(failure);
}

}  // namespace scrawl
