#pragma once
#include <memory>
#include <optional>
#include <vector>

#include "train/batch_memory.h"
#include "train/batch_source.h"

namespace scrawl {

/// Batches that the device makes from samples that were decoded once, when the first epoch starts.
class StoredBatches : public BatchSource {
 public:
  /// `home` is device or pinned.
  StoredBatches(Device& device, const Dataset& dataset, SampleStore store, const LoaderConfig& config,
                SampleHome home);

  int batches_per_epoch() const override;
  void start_epoch(int epoch) override;
  bool next() override;
  const std::vector<uint8_t>& tags() const override { return tags_; }
  DeviceBatch make() override;

 private:
  void load();

  Device& device_;
  const Dataset& dataset_;
  LoaderConfig config_;
  SampleStore store_;
  std::unique_ptr<SampleMemory> samples_;
  BatchMemory memory_;
  Tensor plans_;  // a CropPlan for each sample of the batch
  bool loaded_ = false;
  std::optional<Epoch> epoch_;
  int taken_ = 0, count_ = 0;  // batches of the epoch so far; samples of the last one
  std::vector<uint8_t> tags_;
};

}  // namespace scrawl
