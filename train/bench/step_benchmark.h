#pragma once
#include <optional>
#include <string>
#include <vector>

#include "model/pfa.h"
#include "train/report/peaks.h"

namespace scrawl {

/// A training step of the published model on synthetic images.
struct StepSettings {
  std::string backbone = "mit_b1";
  int crop = 320, batch = 12;
  Phase phase = Phase::global;
  DType storage = DType::f32;
  int warmup = 5, steps = 20;
  bool graphs = true;
};

/// InputError for what cannot be measured.
void check(const StepSettings& settings);

struct StepTimes {
  double median = 0.0, fastest = 0.0, slowest = 0.0;  // seconds
  int64_t peak_bytes = 0, peak_reserved_bytes = 0;    // of device memory; see Device
  int kernels = 0;                                    // of one step
  Cost cost;                                          // of one step, summed over its kernels
  double floor = 0.0;  // seconds: the sum over kernels of what each needs at the measured peaks
};

/// Times whole steps, each from its launch to its end.  Afterwards the first step is computed again from the
/// start, kernel by kernel: throws std::runtime_error unless its loss has the same bits and all losses are
/// finite.
StepTimes time_step(Device& device, const StepSettings& settings, const Peaks& peaks);

/// One kernel at one size within a step.
struct KernelTimes {
  std::string kernel;
  Cost cost;              // of one call
  int64_t calls = 0;      // a step
  double median = 0.0;    // seconds of one call: the mean within a step, the median over steps
  std::string library{};  // that computed it, "cuDNN" or "cuBLASLt"; empty for a kernel of our own
  std::optional<double> library_median{};  // see library_times.h
};

/// Times every kernel of the step where it runs, between the others, so that it finds the caches as it does
/// in training.  In the order of their share of the step, largest first.
std::vector<KernelTimes> time_kernels(Device& device, const StepSettings& settings);

}  // namespace scrawl
