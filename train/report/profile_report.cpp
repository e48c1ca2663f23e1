#include "train/report/profile_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "train/report/peaks.h"

namespace scrawl {
namespace {

/// One kernel in one part of the program, over all its sizes.
struct Row {
  std::string_view kernel;
  int64_t calls = 0;
  double seconds = 0.0, floor = 0.0, bytes = 0.0, flops = 0.0;
};
using Part = std::map<std::string_view, Row>;  // by kernel

std::map<std::string_view, Part> parts_of(const Profiler& profiler, const Peaks& peaks) {
  std::map<std::string_view, Part> parts;
  for (const auto& [key, entry] : profiler.entries()) {
    Row& row = parts[key.part][key.kernel];
    const auto calls = static_cast<double>(entry.calls);
    row.kernel = key.kernel;
    row.calls += entry.calls;
    row.seconds += entry.seconds;
    row.floor += calls * peaks.floor_seconds(key.cost);
    row.bytes += calls * static_cast<double>(key.cost.bytes);
    row.flops += calls * static_cast<double>(key.cost.flops);
  }
  return parts;
}

std::string table_of(std::string_view name, const Part& part) {
  std::vector<Row> rows;
  double total = 0.0;
  for (const auto& [kernel, row] : part) {
    rows.push_back(row);
    total += row.seconds;
  }
  std::ranges::sort(rows, std::greater{}, &Row::seconds);
  std::string table =
      fmt::format("{:<34} {:>8} {:>10} {:>7} {:>9} {:>10} {:>8}\n", name.empty() ? "kernel" : name, "calls",
                  "ms", "time", "GB/s", "GFLOP/s", "of peak");
  for (const Row& row : rows)
    table +=
        fmt::format("{:<34} {:>8} {:>10.1f} {:>6.1f}% {:>9.2f} {:>10.2f} {:>7.0f}%\n", row.kernel, row.calls,
                    1e3 * row.seconds, 100 * row.seconds / total, 1e-9 * row.bytes / row.seconds,
                    1e-9 * row.flops / row.seconds, 100 * row.floor / row.seconds);
  return table + fmt::format("{:<34} {:>8} {:>10.1f}\n\n", "all kernels", "", 1e3 * total);
}

}  // namespace

std::string profile_table(const Profiler& profiler, Device& device) {
  const int64_t peak_bytes = device.peak_bytes();  // ahead of the measurement, which needs memory too
  const Peaks peaks = measure_peaks(device);
  std::string text;
  for (const auto& [name, part] : parts_of(profiler, peaks)) text += table_of(name, part);
  return text + fmt::format(
                    "peaks measured on this device: {:.1f} GB/s, {:.0f} GFLOP/s; highest memory use: {:.0f} "
                    "MiB\n",
                    1e-9 * peaks.bytes_per_second, 1e-9 * peaks.flops,
                    static_cast<double>(peak_bytes) / (1 << 20));
}

}  // namespace scrawl
