// Prints what each kernel of a training step reads and writes beside what its cost() says, and how well the
// accesses of a warp's lanes go together.
#include <fmt/format.h>

#include "tests/observed/accesses/accesses.h"
#include "tests/observed/source.h"
#include "tests/observed/step_arguments.h"

namespace {

using scrawl::Efficiency;

std::string text(const Efficiency& e) {
  return e.least == 0 ? "–"
                      : fmt::format("{:.2f}", static_cast<double>(e.used) / static_cast<double>(e.least));
}

/// Lines that cost a kernel a twentieth more than they need.
void print_lines(const std::string& kernel, const char* memory, const Efficiency& all,
                 const std::map<uint32_t, Efficiency>& lines) {
  std::map<std::string, Efficiency> by_source;
  for (const auto& [code, found] : lines)
    if (found.used > found.least) by_source[scrawl::simt::source_of(code)] += found;
  for (const auto& [source, found] : by_source)
    if (20 * (found.used - found.least) > all.used)
      fmt::print("| {} | {} | {} | {} | {} | {:.0f} % |\n", kernel, memory, source, found.used, found.least,
                 100.0 * static_cast<double>(found.used) / static_cast<double>(all.used));
}

void print_accesses(const std::map<std::string, double>& cost, int steps) {
  fmt::print(
      "| kernel | launches | cost MB | touched MB | accessed MB | touched / cost "
      "|\n|---|---|---|---|---|---|\n");
  for (const auto& [name, counted] : scrawl::counted_accesses()) {
    const auto found = cost.find(name);
    const double scale = 1e-6 / steps, bytes = found == cost.end() ? 0.0 : found->second;
    fmt::print("| {} | {} | {:.2f} | {:.2f} | {:.2f} | {} |\n", name, counted.launches / steps, 1e-6 * bytes,
               scale * static_cast<double>(counted.touched), scale * static_cast<double>(counted.bytes),
               bytes > 0 ? fmt::format("{:.2f}", static_cast<double>(counted.touched) / steps / bytes) : "–");
  }
}

void print_patterns() {
  fmt::print("\n| kernel | global sectors / least | shared wavefronts / least |\n|---|---|---|\n");
  for (const auto& [name, counted] : scrawl::counted_accesses())
    fmt::print("| {} | {} | {} |\n", name, text(counted.patterns.global), text(counted.patterns.shared));
  fmt::print(
      "\n| kernel | memory | line | used | least | share of the kernel's |\n|---|---|---|---|---|---|\n");
  for (const auto& [name, counted] : scrawl::counted_accesses()) {
    print_lines(name, "global", counted.patterns.global, counted.patterns.global_lines);
    print_lines(name, "shared", counted.patterns.shared, counted.patterns.shared_lines);
  }
}

}  // namespace

int main(int argc, char** argv) {
  using namespace scrawl;
  const StepSettings settings = step_of(argc, argv);
  start_counting();
  Device device({.kind = DeviceKind::simt, .threads = 1});
  std::map<std::string, double> cost;
  for (const KernelTimes& kernel : time_kernels(device, settings))
    cost[kernel.kernel] += static_cast<double>(kernel.cost.bytes * kernel.calls);
  print_accesses(cost, settings.warmup + settings.steps);
  print_patterns();
}
