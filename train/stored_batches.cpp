#include "train/stored_batches.h"

#include "train/interrupt.h"
#include "train/report/progress.h"

namespace scrawl {

StoredBatches::StoredBatches(Device& device, const Dataset& dataset, SampleStore store,
                             const LoaderConfig& config, SampleHome home)
    : device_(device),
      dataset_(dataset),
      config_(config),
      store_(std::move(store)),
      samples_(make_sample_memory(device, store_, home, config.batch_size)),
      memory_(device, config, dataset.classes(), config.storage),
      plans_(device, {static_cast<int64_t>(config.batch_size * sizeof(CropPlan))}, DType::u8) {}

int StoredBatches::batches_per_epoch() const {
  return scrawl::batches_per_epoch(dataset_, config_);
}

void StoredBatches::start_epoch(int epoch) {
  if (!loaded_) load();
  epoch_.emplace(config_, dataset_.size(), epoch);
  taken_ = 0;
}

void StoredBatches::load() {
  Progress progress(config_.train ? "decoding training images" : "decoding validation images",
                    dataset_.size());
  store_.load([&](int64_t offset, const void* data, int64_t bytes) { samples_->write(offset, data, bytes); },
              [&](int done, int) {
                stop_if_interrupted();
                progress.update(done);
              });
  progress.finish();
  loaded_ = true;
}

bool StoredBatches::next() {
  if (!epoch_ || taken_ == batches_per_epoch()) return false;
  const std::span<const int> batch = epoch_->batch(taken_++);
  const auto following = taken_ < batches_per_epoch() ? epoch_->batch(taken_) : std::span<const int>();
  const std::vector<const LabelledPixel*> pixels = samples_->bring(batch, following);
  std::vector<CropPlan> plans;
  tags_.clear();
  for (size_t i = 0; i < batch.size(); ++i) {
    const SampleStore::Place& place = store_.place(batch[i]);
    plans.push_back(epoch_->plan(batch[i], pixels[i], place.height, place.width));
    const std::vector<uint8_t>& present = store_.present(batch[i]);
    tags_.insert(tags_.end(), present.begin(), present.end());
  }
  device_.upload(plans_.raw(), plans.data(), static_cast<int64_t>(plans.size() * sizeof(CropPlan)));
  device_.upload(memory_.present.raw(), tags_.data(), static_cast<int64_t>(tags_.size()));
  count_ = static_cast<int>(batch.size());
  return true;
}

DeviceBatch StoredBatches::make() {
  DeviceBatch batch = memory_.first(count_);
  device_.run(AugmentCrops{.plans = static_cast<const CropPlan*>(plans_.raw()),
                           .images = count_,
                           .height = config_.crop_height,
                           .width = config_.crop_width,
                           .dtype = batch.image.dtype(),
                           .image = batch.image.raw(),
                           .label = batch.label.data<uint8_t>()});
  return batch;
}

}  // namespace scrawl
