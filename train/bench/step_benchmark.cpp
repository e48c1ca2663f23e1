#include "train/bench/step_benchmark.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <map>

#include "engine/error.h"
#include "engine/random.h"
#include "train/bench/synthetic_batches.h"
#include "train/training_step.h"

namespace scrawl {
namespace {

double median_of(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::ranges::nth_element(values, middle);
  return *middle;
}

/// A model with all that its step needs, in its initial state.
class Bench {
 public:
  Bench(Device& device, const StepSettings& settings)
      : device_(device),
        phase_(settings.phase),
        model_(device, backbone(settings.backbone)),
        step_(model_, 1, {0.9, 0.999}, {}),
        batches_(device, settings.batch, settings.crop, model_.config().classes, settings.storage) {
    model_.initialise(published_groups(6e-5f, 0.01f), 1, /*differentiate_frozen=*/false, settings.storage);
    step_.use_graphs(settings.graphs);
    if (phase_ == Phase::global) fill_bank();
  }

  /// Runs the next step to its end.
  Tensor step() {
    const Tensor loss = step_.run(batches_, phase_, {.step = steps_++});
    device_.synchronise();
    return loss;
  }
  /// The next step, timed.
  double seconds() {
    const auto begin = std::chrono::steady_clock::now();
    step();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  }
  void use_graphs(bool use) { step_.use_graphs(use); }

 private:
  /// With unit vectors of noise.
  void fill_bank() {
    const ModelConfig& config = model_.config();
    Random random(2, 0);
    std::vector<float> values(int64_t{config.classes} * config.slots * config.width);
    for (float& value : values) value = random.normal() / std::sqrt(static_cast<float>(config.width));
    TensorFile file;
    file.tensors["prototype_bank.values"] =
        HostTensor::of({config.classes, config.slots, config.width}, values);
    file.tensors["prototype_bank.filled"] =
        HostTensor::of({config.classes}, std::vector<int64_t>(config.classes, config.slots));
    model_.bank().load(file);
  }

  Device& device_;
  Phase phase_;
  Pfa model_;
  TrainingStep step_;
  SyntheticBatches batches_;
  uint64_t steps_ = 0;
};

void expect_same_first_loss(Device& device, const StepSettings& settings, float expected) {
  Bench again(device, settings);
  again.use_graphs(false);
  const float loss = again.step().to_host().front();
  if (loss != expected)
    throw std::runtime_error(fmt::format(
        "results are not repeatable: the first step's loss was {}, computed again {}", expected, loss));
}

}  // namespace

void check(const StepSettings& settings) {
  const int least = backbone(settings.backbone).minimum_side();
  if (settings.crop < least)
    throw InputError("--crop {}: the network needs at least {}", settings.crop, least);
}

StepTimes time_step(Device& device, const StepSettings& settings, const Peaks& peaks) {
  StepTimes times;
  float first_loss = 0.0f;
  {
    device.trim();
    device.memory().reset_peak();
    Bench bench(device, settings);
    first_loss = bench.step().to_host().front();
    for (int i = 1; i < settings.warmup; ++i) bench.step();
    std::vector<double> seconds;
    for (int i = 0; i < settings.steps; ++i) seconds.push_back(bench.seconds());
    times.median = median_of(seconds);
    times.fastest = std::ranges::min(seconds);
    times.slowest = std::ranges::max(seconds);
    times.peak_bytes = device.peak_bytes();
    times.peak_reserved_bytes = device.peak_reserved_bytes();

    Profiler profiler;
    device.attach(&profiler);
    const Tensor loss = bench.step();
    device.attach(nullptr);
    if (!std::isfinite(loss.to_host().front())) throw std::runtime_error("the loss is not finite");
    for (const auto& [key, entry] : profiler.entries()) {
      times.kernels += static_cast<int>(entry.calls);
      times.cost.bytes += entry.calls * key.cost.bytes;
      times.cost.flops += entry.calls * key.cost.flops;
      times.floor += static_cast<double>(entry.calls) * peaks.floor_seconds(key.cost);
    }
  }
  expect_same_first_loss(device, settings, first_loss);
  return times;
}

std::vector<KernelTimes> time_kernels(Device& device, const StepSettings& settings) {
  Bench bench(device, settings);
  for (int i = 0; i < settings.warmup; ++i) bench.step();
  std::map<Profiler::Key, std::vector<double>> seconds;  // of one call, step by step
  std::map<Profiler::Key, int64_t> calls;
  for (int i = 0; i < settings.steps; ++i) {
    Profiler profiler;
    device.attach(&profiler);
    bench.step();
    device.attach(nullptr);
    for (const auto& [key, entry] : profiler.entries()) {
      calls[key] = entry.calls;
      seconds[key].push_back(entry.seconds / static_cast<double>(entry.calls));
    }
  }
  std::vector<KernelTimes> kernels;
  for (const auto& [key, samples] : seconds)
    kernels.push_back(
        {std::string(key.kernel), key.cost, calls[key], median_of(samples), std::string(key.library)});
  std::ranges::sort(kernels, std::greater{},
                    [](const KernelTimes& k) { return k.median * static_cast<double>(k.calls); });
  return kernels;
}

}  // namespace scrawl
