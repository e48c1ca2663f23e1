#pragma once
#include "train/batch_source.h"

namespace scrawl {

/// One batch of noise, images in `storage`, again and again: what a step costs depends on sizes and tags
/// alone.  Every image has background and two more classes, with a straight stroke of 3 pixels' width across
/// half of the image for each, about 3 % of its pixels.
class SyntheticBatches : public BatchSource {
 public:
  SyntheticBatches(Device& device, int images, int crop, int classes, DType storage);

  int batches_per_epoch() const override { return 1; }
  void start_epoch(int) override {}
  bool next() override { return true; }
  const std::vector<uint8_t>& tags() const override { return tags_; }
  DeviceBatch make() override { return batch_; }

 private:
  std::vector<uint8_t> tags_;
  DeviceBatch batch_;
};

}  // namespace scrawl
