// Runs training steps kernel by kernel, in all phases, and fails when kernels that may run beside each other
// touch the same memory.
#include <fmt/format.h>

#include "tests/observed/lanes/lane_order.h"
#include "tests/observed/step_arguments.h"

int main(int argc, char** argv) {
  using namespace scrawl;
  StepSettings settings = step_of(argc, argv);
  settings.graphs = false;
  simt::LaneOrder order;
  simt::observer = &order;
  for (const Phase phase : {Phase::without, Phase::local, Phase::global}) {
    settings.phase = phase;
    Device device({.kind = DeviceKind::simt, .threads = 1});
    time_step(device, settings, {});
  }
  for (const std::string& conflict : order.conflicts()) fmt::print("{}\n", conflict);
  fmt::print("{} launches, {} conflicts\n", order.launches(), order.conflicts().size());
  return order.conflicts().empty() ? 0 : 1;
}
