#include "train/bench/kernel_table.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

namespace scrawl {
namespace {

using Json = nlohmann::ordered_json;

constexpr double kMega = 1e6;

std::string library_cell(const KernelTimes& k) {
  if (!k.library.empty()) return "same";
  return k.library_median ? fmt::format("{:.1f}", 1e6 * *k.library_median) : "-";
}

}  // namespace

KernelTable::KernelTable(const std::vector<KernelTimes>& kernels, const Peaks& peaks, bool compared)
    : peaks_(peaks), compared_(compared) {
  for (const KernelTimes& k : kernels) {
    seconds_ += k.median * static_cast<double>(k.calls);
    floor_ += peaks.floor_seconds(k.cost) * static_cast<double>(k.calls);
  }
}

std::string KernelTable::text(const std::vector<KernelTimes>& shown) const {
  std::string text =
      fmt::format("{:<36} {:>6} {:>9} {:>9} {:>11}{} {:>7} {:>9} {:>9} {:>8}\n", "kernel", "calls", "MB",
                  "MFLOP", "us a call", compared_ ? " library us" : "", "time", "GB/s", "GFLOP/s", "of peak");
  for (const KernelTimes& k : shown) text += line(k);
  return text;
}

std::string KernelTable::line(const KernelTimes& k) const {
  const auto bytes = static_cast<double>(k.cost.bytes), flops = static_cast<double>(k.cost.flops);
  return fmt::format("{:<36} {:>6} {:>9.2f} {:>9.1f} {:>11.1f}{} {:>6.1f}% {:>9.1f} {:>9.1f} {:>7.0f}%\n",
                     k.kernel, k.calls, bytes / kMega, flops / kMega, 1e6 * k.median,
                     compared_ ? fmt::format(" {:>10}", library_cell(k)) : "",
                     100 * k.median * static_cast<double>(k.calls) / seconds_, 1e-9 * bytes / k.median,
                     1e-9 * flops / k.median, 100 * peaks_.floor_seconds(k.cost) / k.median);
}

std::string KernelTable::total() const {
  return fmt::format("all kernels of a step: {:.3f} ms, at the measured peaks {:.3f} ms ({:.0f} %)\n",
                     1e3 * seconds_, 1e3 * floor_, 100 * floor_ / seconds_);
}

Json KernelTable::json(const std::vector<KernelTimes>& shown) const {
  Json rows;
  for (const KernelTimes& k : shown) {
    Json row = {{"kernel", k.kernel},    {"calls", k.calls},
                {"bytes", k.cost.bytes}, {"flops", k.cost.flops},
                {"us", 1e6 * k.median},  {"share_of_peak", peaks_.floor_seconds(k.cost) / k.median}};
    if (compared_) {
      row["by"] = k.library.empty() ? "own" : k.library;
      row["library_us"] = k.library_median ? Json(1e6 * *k.library_median) : Json();
    }
    rows.push_back(row);
  }
  return rows;
}

}  // namespace scrawl
