// Prints what each kernel of a training step reads and writes beside what its cost() says.
#include <fmt/format.h>

#include <cstdlib>

#include "tests/accesses/accesses.h"
#include "train/bench/step_benchmark.h"

int main(int argc, char** argv) {
  using namespace scrawl;
  if (argc != 4) {
    fmt::print(stderr, "usage: {} CROP BATCH fp32|bf16\n", argv[0]);
    return 2;
  }
  StepSettings settings{.crop = std::atoi(argv[1]), .batch = std::atoi(argv[2]), .warmup = 1, .steps = 1};
  settings.storage = std::string_view(argv[3]) == "bf16" ? DType::bf16 : DType::f32;
  check(settings);
  Device device({.kind = DeviceKind::simt, .threads = 1});
  std::map<std::string, double> cost;
  for (const KernelTimes& kernel : time_kernels(device, settings))
    cost[kernel.kernel] += static_cast<double>(kernel.cost.bytes * kernel.calls);

  fmt::print(
      "| kernel | launches | cost MB | touched MB | accessed MB | touched / cost "
      "|\n|---|---|---|---|---|---|\n");
  const int steps = settings.warmup + settings.steps;
  for (const auto& [name, counted] : counted_accesses()) {
    const double scale = 1e-6 / steps, bytes = cost[name];
    fmt::print("| {} | {} | {:.2f} | {:.2f} | {:.2f} | {} |\n", name, counted.launches / steps, 1e-6 * bytes,
               scale * static_cast<double>(counted.touched), scale * static_cast<double>(counted.bytes),
               bytes > 0 ? fmt::format("{:.2f}", static_cast<double>(counted.touched) / steps / bytes) : "–");
  }
}
