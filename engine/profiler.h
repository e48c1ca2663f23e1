#pragma once
#include <algorithm>
#include <cstdint>
#include <map>
#include <string_view>
#include <tuple>

#include "kernels/cost.h"

namespace scrawl {

/// Time and cost of every kernel that ran while it was attached to a device.  Calls of one kernel that cost
/// alike are counted together, so that its sizes stay apart, and so do a library's kernels and our own.
class Profiler {
 public:
  struct Key {
    std::string_view part;       // of the program; see enter()
    std::string_view kernel;     // names live as long as the program
    Cost cost;                   // of one call
    std::string_view library{};  // that computed it; empty for a kernel of our own
    friend bool operator<(const Key& a, const Key& b) {
      return std::tie(a.part, a.kernel, a.cost.bytes, a.cost.flops, a.library) <
             std::tie(b.part, b.kernel, b.cost.bytes, b.cost.flops, b.library);
    }
  };
  struct Entry {
    int64_t calls = 0;
    double seconds = 0.0;  // of all calls
  };

  /// What follows belongs to this part: a phase of training, or validation.  The name must stay alive.
  void enter(std::string_view part) { part_ = part; }
  void add(std::string_view kernel, double seconds, const Cost& cost, std::string_view library = {}) {
    Entry& entry = entries_[{part_, kernel, cost, library}];
    ++entry.calls;
    entry.seconds += seconds;
  }
  const std::map<Key, Entry>& entries() const { return entries_; }

 private:
  std::string_view part_;
  std::map<Key, Entry> entries_;
};

}  // namespace scrawl
