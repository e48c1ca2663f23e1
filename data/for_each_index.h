#pragma once
#include <functional>

namespace scrawl {

/// Called as a job of `total` parts advances, never twice at a time.
using ProgressCallback = std::function<void(int done, int total)>;

/// Calls work(0) … work(count-1) on `threads` threads (0 takes all processors), in no particular order, and
/// `progress` after each.  An exception stops the rest; of several, that of the lowest index is thrown on.
void for_each_index(int count, const std::function<void(int)>& work, const ProgressCallback& progress = {},
                    int threads = 0);

}  // namespace scrawl
