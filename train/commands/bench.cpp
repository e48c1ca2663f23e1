#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <set>

#include "engine/error.h"
#include "train/bench/step_benchmark.h"
#include "train/commands/commands.h"
#include "train/commands/make_device.h"

namespace scrawl {
namespace {

using Json = nlohmann::ordered_json;

constexpr double kMega = 1e6, kMebi = 1 << 20;

Phase phase_of(const std::string& name) {
  for (const Phase phase : {Phase::without, Phase::local, Phase::global})
    if (name == name_of(phase)) return phase;
  throw InputError("--phase {}: expected without, local or global", name);
}

DType storage_of(const BenchOptions& options, const Device& device) {
  if (options.precision == "fp32") return DType::f32;
  if (device.kind() == DeviceKind::cpu)
    throw InputError("--precision bf16: the cpu device computes in fp32 only");
  return DType::bf16;
}

/// One row of the table for every combination that was asked for.
std::vector<StepSettings> combinations(const BenchOptions& options, DType storage) {
  std::vector<StepSettings> all;
  for (const std::string& backbone : options.backbones)
    for (const int crop : options.crops)
      for (const int batch : options.batches)
        for (const std::string& phase : options.phases)
          all.push_back({.backbone = backbone,
                         .crop = crop,
                         .batch = batch,
                         .phase = phase_of(phase),
                         .storage = storage,
                         .warmup = options.warmup,
                         .steps = options.steps,
                         .graphs = !options.no_graphs});
  for (const StepSettings& settings : all) check(settings);
  return all;
}

Json peaks_json(const Device& device, const BenchOptions& options, const Peaks& peaks) {
  return {{"device", device.name()},
          {"threads", device.threads()},
          {"precision", options.precision},
          {"peak_gb_per_second", 1e-9 * peaks.bytes_per_second},
          {"peak_tflops", 1e-12 * peaks.flops}};
}

Json settings_json(const StepSettings& s) {
  return {{"backbone", s.backbone}, {"crop", s.crop}, {"batch", s.batch}, {"phase", name_of(s.phase)}};
}

Json to_json(const StepSettings& s, const StepTimes& t) {
  Json json = settings_json(s);
  json.update({{"ms", 1e3 * t.median},
               {"min_ms", 1e3 * t.fastest},
               {"max_ms", 1e3 * t.slowest},
               {"images_per_second", s.batch / t.median},
               {"peak_mib", static_cast<double>(t.peak_bytes) / kMebi},
               {"peak_reserved_mib", static_cast<double>(t.peak_reserved_bytes) / kMebi},
               {"kernels", t.kernels},
               {"megabytes", static_cast<double>(t.cost.bytes) / kMega},
               {"gflop", 1e-9 * static_cast<double>(t.cost.flops)},
               {"floor_ms", 1e3 * t.floor},
               {"share_of_floor", t.floor / t.median}});
  return json;
}

std::string row(const StepSettings& s, const StepTimes& t) {
  return fmt::format(
      "{:<8} {:>5} {:>6} {:<8} {:>10.3f} {:>10.3f} {:>10.3f} {:>10.1f} {:>9.0f} {:>10.3f} {:>6.0f}%",
      s.backbone, s.crop, s.batch, name_of(s.phase), 1e3 * t.median, 1e3 * t.fastest, 1e3 * t.slowest,
      s.batch / t.median, static_cast<double>(t.peak_bytes) / kMebi, 1e3 * t.floor, 100 * t.floor / t.median);
}

std::string describe(const Device& device, const BenchOptions& options, const Peaks& peaks) {
  return fmt::format("{}; {}; measured peaks: {:.1f} GB/s, {:.2f} TFLOP/s", device.describe(),
                     options.precision, 1e-9 * peaks.bytes_per_second, 1e-12 * peaks.flops);
}

/// Those with `part` in their name.
std::vector<KernelTimes> chosen(const std::vector<KernelTimes>& kernels, const std::string& part) {
  std::vector<KernelTimes> chosen;
  std::set<std::string> names;
  for (const KernelTimes& kernel : kernels) {
    names.insert(kernel.kernel);
    if (kernel.kernel.find(part) != std::string::npos) chosen.push_back(kernel);
  }
  if (chosen.empty())
    throw InputError("this step has no kernel with '{}' in its name; it has {}", part,
                     fmt::join(names, ", "));
  return chosen;
}

}  // namespace

int bench_step_command(const BenchOptions& options) {
  Device device(device_options(options.device));
  const DType storage = storage_of(options, device);
  const std::vector<StepSettings> all = combinations(options, storage);
  const Peaks peaks = measure_peaks(device, storage);
  Json json = peaks_json(device, options, peaks);
  if (!options.json)
    fmt::print("{}\n{:<8} {:>5} {:>6} {:<8} {:>10} {:>10} {:>10} {:>10} {:>9} {:>10} {:>7}\n",
               describe(device, options, peaks), "backbone", "crop", "batch", "phase", "ms", "min", "max",
               "images/s", "peak MiB", "floor ms", "reached");
  for (const StepSettings& settings : all) {
    try {
      const StepTimes times = time_step(device, settings, peaks);
      json["steps"].push_back(to_json(settings, times));
      if (!options.json) fmt::print("{}\n", row(settings, times));
    } catch (const OutOfMemory&) {
      Json out_of_memory = settings_json(settings);
      out_of_memory["out_of_memory"] = true;
      json["steps"].push_back(out_of_memory);
      if (!options.json)
        fmt::print("{:<8} {:>5} {:>6} {:<8} {:>10}\n", settings.backbone, settings.crop, settings.batch,
                   name_of(settings.phase), "out of memory");
    }
    std::fflush(stdout);
  }
  if (options.json) fmt::print("{}\n", json.dump(2));
  return 0;
}

int bench_kernels_command(const BenchOptions& options) {
  Device device(device_options(options.device));
  const DType storage = storage_of(options, device);
  const std::vector<StepSettings> all = combinations(options, storage);
  if (all.size() != 1) throw InputError("bench kernels takes one backbone, crop, batch and phase at a time");
  const Peaks peaks = measure_peaks(device, storage);
  const std::vector<KernelTimes> kernels = time_kernels(device, all.front());
  double total = 0.0, floor = 0.0;
  for (const KernelTimes& k : kernels) {
    total += k.median * static_cast<double>(k.calls);
    floor += peaks.floor_seconds(k.cost) * static_cast<double>(k.calls);
  }

  Json json = peaks_json(device, options, peaks);
  json.update(settings_json(all.front()));
  if (!options.json)
    fmt::print("{}\n{:<36} {:>6} {:>9} {:>9} {:>11} {:>7} {:>9} {:>9} {:>8}\n",
               describe(device, options, peaks), "kernel", "calls", "MB", "MFLOP", "us a call", "time",
               "GB/s", "GFLOP/s", "of peak");
  for (const KernelTimes& k : chosen(kernels, options.kernel)) {
    const auto bytes = static_cast<double>(k.cost.bytes), flops = static_cast<double>(k.cost.flops);
    const double reached = peaks.floor_seconds(k.cost) / k.median;
    json["kernels"].push_back({{"kernel", k.kernel},
                               {"calls", k.calls},
                               {"bytes", k.cost.bytes},
                               {"flops", k.cost.flops},
                               {"us", 1e6 * k.median},
                               {"share_of_peak", reached}});
    if (!options.json)
      fmt::print("{:<36} {:>6} {:>9.2f} {:>9.1f} {:>11.1f} {:>6.1f}% {:>9.1f} {:>9.1f} {:>7.0f}%\n", k.kernel,
                 k.calls, bytes / kMega, flops / kMega, 1e6 * k.median,
                 100 * k.median * static_cast<double>(k.calls) / total, 1e-9 * bytes / k.median,
                 1e-9 * flops / k.median, 100 * reached);
  }
  if (options.json)
    fmt::print("{}\n", json.dump(2));
  else
    fmt::print("all kernels of a step: {:.3f} ms, at the measured peaks {:.3f} ms ({:.0f} %)\n", 1e3 * total,
               1e3 * floor, 100 * floor / total);
  return 0;
}

}  // namespace scrawl
