#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "train/bench/step_benchmark.h"

namespace scrawl {

/// The kernels of a step as a table for the terminal and as JSON, each beside what the measured peaks allow.
class KernelTable {
 public:
  /// `compared`: with times of libraries; see library_times.h.
  KernelTable(const std::vector<KernelTimes>& kernels, const Peaks& peaks, bool compared);

  /// A header, and a line for each of `shown`.  In the column of libraries, "same" stands by a library's own
  /// kernel and "-" by work that no library was timed at.
  std::string text(const std::vector<KernelTimes>& shown) const;
  /// One line: all kernels together.
  std::string total() const;
  nlohmann::ordered_json json(const std::vector<KernelTimes>& shown) const;

 private:
  std::string line(const KernelTimes& kernel) const;

  Peaks peaks_;
  bool compared_;
  double seconds_ = 0.0, floor_ = 0.0;  // of all kernels
};

}  // namespace scrawl
