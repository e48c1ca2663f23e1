#include "train/batch_source.h"

#include "train/batch_memory.h"
#include "train/report/log.h"
#include "train/stored_batches.h"

namespace scrawl {
namespace {

/// Batches that worker threads prepare on the processor.
class LoadedBatches : public BatchSource {
 public:
  LoadedBatches(Device& device, const Dataset& dataset, const LoaderConfig& config)
      : device_(device), loader_(dataset, config), memory_(device, config, dataset.classes(), DType::f32) {}

  int batches_per_epoch() const override { return loader_.batches_per_epoch(); }
  void start_epoch(int epoch) override { loader_.start_epoch(epoch); }

  bool next() override {
    if (!loader_.next(batch_)) return false;
    device_.upload(memory_.image.raw(), batch_.image.data(), batch_.image.size() * sizeof(float));
    device_.upload(memory_.label.raw(), batch_.label.data(), batch_.label.size());
    device_.upload(memory_.present.raw(), batch_.present.data(), batch_.present.size());
    return true;
  }
  const std::vector<uint8_t>& tags() const override { return batch_.present; }
  DeviceBatch make() override { return memory_.first(batch_.count); }

 private:
  Device& device_;
  Loader loader_;
  Batch batch_;
  BatchMemory memory_;
};

/// Says where the samples are kept, and why not better.
void log_home(SampleHome home, const Device& device, const Dataset& dataset, const LoaderConfig& config,
              int64_t bytes, const FreeMemory& free) {
  const std::string samples = fmt::format("{} {} images take {:.0f} MB decoded", dataset.size(),
                                          config.train ? "training" : "validation", 1e-6 * bytes);
  const std::string too_large =
      fmt::format("more than half of the {:.0f} MB free on {}", 1e-6 * free.device, device.name());
  if (home == SampleHome::device)
    log("{} and stay in the memory of {}", samples, device.name());
  else if (home == SampleHome::pinned)
    log("{}, {}: they stay in pinned host memory, each batch is copied beside the step before", samples,
        too_large);
  else
    log("{}, {} and of the {:.0f} MB free on the host: they are decoded again in every epoch", samples,
        too_large, 1e-6 * free.host);
}

}  // namespace

std::unique_ptr<BatchSource> make_batch_source(Device& device, const Dataset& dataset,
                                               const LoaderConfig& config) {
  return make_batch_source(device, dataset, config, free_memory(device));
}

std::unique_ptr<BatchSource> make_batch_source(Device& device, const Dataset& dataset,
                                               const LoaderConfig& config, const FreeMemory& free) {
  check(dataset, config);
  if (device.kind() == DeviceKind::cpu) return std::make_unique<LoadedBatches>(device, dataset, config);
  SampleStore store(dataset);
  const SampleHome home = choose_home(store.bytes(), free);
  log_home(home, device, dataset, config, store.bytes(), free);
  if (home == SampleHome::files) return std::make_unique<LoadedBatches>(device, dataset, config);
  return std::make_unique<StoredBatches>(device, dataset, std::move(store), config, home);
}

}  // namespace scrawl
