#include "train/report/profile_report.h"

#include <algorithm>
#include <vector>

#include "engine/tensor.h"
#include "kernels/elementwise.h"
#include "kernels/matmul.h"

namespace scrawl {
namespace {

/// Seconds of one run of a kernel: the best of several, since a peak is asked for.
template <typename Kernel>
double best_seconds(Device& device, const Kernel& kernel) {
  Profiler profiler;
  double best = 1e30, before = 0.0;
  device.attach(&profiler);
  for (int i = 0; i < 6; ++i) {
    device.run(kernel);
    const double total = profiler.entries().find(kernel.name)->second.seconds;
    if (i > 0) best = std::min(best, total - before);  // the first run warms up
    before = total;
  }
  device.attach(nullptr);
  return best;
}

}  // namespace

Peaks measure_peaks(Device& device) {
  constexpr int64_t kElements = int64_t{1} << 26;  // 256 MiB each: more than any cache
  Peaks peaks;
  {
    const Tensor x = Tensor::zeros(device, {kElements}), y = Tensor::zeros(device, {kElements});
    const AddInto stream{.x = x.raw(), .y = y.raw(), .elements = kElements};
    peaks.bytes_per_second = static_cast<double>(stream.cost().bytes) / best_seconds(device, stream);
  }
  constexpr int64_t kSide = 2048;
  const Tensor a = Tensor::zeros(device, {kSide, kSide}), b = Tensor::zeros(device, {kSide, kSide}),
               c = Tensor::zeros(device, {kSide, kSide});
  const MatMul product{.m = kSide,
                       .n = kSide,
                       .k = kSide,
                       .a = a.raw(),
                       .lda = kSide,
                       .b = b.raw(),
                       .ldb = kSide,
                       .c = c.raw(),
                       .ldc = kSide};
  peaks.flops = static_cast<double>(product.cost().flops) / best_seconds(device, product);
  return peaks;
}

std::string profile_table(const Profiler& profiler, Device& device) {
  const Peaks peaks = measure_peaks(device);
  using Row = std::pair<std::string, Profiler::Entry>;
  std::vector<Row> rows(profiler.entries().begin(), profiler.entries().end());
  std::ranges::sort(rows, [](const Row& a, const Row& b) { return a.second.seconds > b.second.seconds; });
  double total = 0.0;
  for (const auto& [name, entry] : rows) total += entry.seconds;

  std::string table = fmt::format("{:<34} {:>8} {:>10} {:>7} {:>9} {:>10} {:>8}\n", "kernel", "calls", "ms",
                                  "time", "GB/s", "GFLOP/s", "of peak");
  for (const auto& [name, entry] : rows) {
    const auto bytes = static_cast<double>(entry.cost.bytes), flops = static_cast<double>(entry.cost.flops);
    const double floor = std::max(bytes / peaks.bytes_per_second, flops / peaks.flops);
    table += fmt::format("{:<34} {:>8} {:>10.1f} {:>6.1f}% {:>9.2f} {:>10.2f} {:>7.0f}%\n", name, entry.calls,
                         1e3 * entry.seconds, 100 * entry.seconds / total, 1e-9 * bytes / entry.seconds,
                         1e-9 * flops / entry.seconds, 100 * floor / entry.seconds);
  }
  return table +
         fmt::format(
             "{:<34} {:>8} {:>10.1f}\npeaks measured on this device: {:.1f} GB/s, {:.0f} GFLOP/s; highest "
             "memory use: {:.0f} MiB\n",
             "all kernels", "", 1e3 * total, 1e-9 * peaks.bytes_per_second, 1e-9 * peaks.flops,
             static_cast<double>(device.peak_bytes()) / (1 << 20));
}

}  // namespace scrawl
