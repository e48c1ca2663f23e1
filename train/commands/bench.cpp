#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <set>

#include "engine/error.h"
#include "train/bench/kernel_table.h"
#include "train/bench/library_times.h"
#include "train/bench/step_benchmark.h"
#include "train/commands/commands.h"
#include "train/commands/make_device.h"
#include "train/report/log.h"

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
          {"portable", options.device.portable},
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
  return fmt::format("{}; {}{}; measured peaks: {:.1f} GB/s, {:.2f} TFLOP/s", device.describe(),
                     options.precision, options.device.portable ? ", portable kernels" : "",
                     1e-9 * peaks.bytes_per_second, 1e-12 * peaks.flops);
}

/// Times the step once more where libraries compute what they can.
void compare_with_libraries(std::vector<KernelTimes>& kernels, Device& device, const BenchOptions& options,
                            const StepSettings& settings) {
  device.trim();  // the other one needs the memory
  const Device::Options libraries = by_libraries(device_options(options.device));
  if (!libraries.cudnn)
    log("convolutions and batch norms are not compared: no cuDNN: {}", Device::cudnn_absence());
  Device other(libraries);
  add_library_times(kernels, time_kernels(other, settings));
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
  std::vector<KernelTimes> kernels = time_kernels(device, all.front());
  const bool compared = device.kind() == DeviceKind::cuda;
  if (compared) compare_with_libraries(kernels, device, options, all.front());
  const KernelTable table(kernels, peaks, compared);
  const std::vector<KernelTimes> shown = chosen(kernels, options.kernel);
  if (options.json) {
    Json json = peaks_json(device, options, peaks);
    json.update(settings_json(all.front()));
    json["kernels"] = table.json(shown);
    fmt::print("{}\n", json.dump(2));
  } else {
    fmt::print("{}\n{}{}", describe(device, options, peaks), table.text(shown), table.total());
  }
  return 0;
}

}  // namespace scrawl
