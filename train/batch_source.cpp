#include "train/batch_source.h"

namespace scrawl {
namespace {

/// Batches that worker threads prepare on the processor.
class LoadedBatches : public BatchSource {
 public:
  LoadedBatches(Device& device, const Dataset& dataset, const LoaderConfig& config)
      : loader_(dataset, config),
        image_(device, {config.batch_size, config.crop_height, config.crop_width, 3}),
        label_(device, {config.batch_size, config.crop_height, config.crop_width}, DType::u8),
        present_(device, {config.batch_size, dataset.classes()}, DType::u8) {}

  int batches_per_epoch() const override { return loader_.batches_per_epoch(); }
  void start_epoch(int epoch) override { loader_.start_epoch(epoch); }

  bool next() override {
    if (!loader_.next(batch_)) return false;
    Device& device = image_.device();
    device.upload(image_.raw(), batch_.image.data(), batch_.image.size() * sizeof(float));
    device.upload(label_.raw(), batch_.label.data(), batch_.label.size());
    device.upload(present_.raw(), batch_.present.data(), batch_.present.size());
    return true;
  }

  const std::vector<uint8_t>& tags() const override { return batch_.present; }

  DeviceBatch make() override {
    const int64_t count = batch_.count, height = batch_.height, width = batch_.width;
    return {.image = image_.slice(0, {count, height, width, 3}),
            .label = label_.slice(0, {count, height, width}),
            .present = present_.slice(0, {count, present_.dim(1)})};
  }

 private:
  Loader loader_;
  Batch batch_;
  Tensor image_, label_, present_;  // of a full batch; the last one of a validation may be smaller
};

}  // namespace

std::unique_ptr<BatchSource> make_batch_source(Device& device, const Dataset& dataset,
                                               const LoaderConfig& config) {
  return std::make_unique<LoadedBatches>(device, dataset, config);
}

}  // namespace scrawl
