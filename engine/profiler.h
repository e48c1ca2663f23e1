#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "kernels/cost.h"

namespace scrawl {

/// Time and cost of every kernel that ran while it was attached to a device.
class Profiler {
 public:
  struct Entry {
    int64_t calls = 0;
    double seconds = 0.0;
    Cost cost;
  };

  void add(std::string_view kernel, double seconds, const Cost& cost) {
    const auto it = entries_.find(kernel);
    Entry& entry = it != entries_.end() ? it->second : entries_[std::string(kernel)];
    ++entry.calls;
    entry.seconds += seconds;
    entry.cost.bytes += cost.bytes;
    entry.cost.flops += cost.flops;
  }
  const std::map<std::string, Entry, std::less<>>& entries() const { return entries_; }

 private:
  std::map<std::string, Entry, std::less<>> entries_;
};

}  // namespace scrawl
