#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "data/dataset.h"
#include "kernels/augmentation.h"
#include "kernels/dtype.h"

namespace scrawl {

struct LoaderConfig {
  int batch_size = 12;
  int crop_height = 320, crop_width = 320;
  int workers = 2;    // threads that prepare batches ahead; 0: the calling thread does it
  bool train = true;  // shuffled, augmented, full batches only; else in order, centre crops, last batch short
  bool shuffle = true;  // of training batches
  uint64_t seed = 100;
  DType storage = DType::f32;  // of images that the device makes; the processor's are f32
};

/// InputError for a configuration that gives no batch of this data set.
void check(const Dataset& dataset, const LoaderConfig& config);

int batches_per_epoch(const Dataset& dataset, const LoaderConfig& config);

/// What an epoch shows: which samples, in which batches, and which part of each.  Depends on the
/// configuration, the number of samples and the epoch's number alone.
class Epoch {
 public:
  Epoch(const LoaderConfig& config, int samples, int number);

  /// The samples of a batch, by their place in the data set.
  std::span<const int> batch(int index) const;
  /// How the crop of a sample is made; `pixels` [height, width] lie in the memory of the device that makes
  /// it.
  CropPlan plan(int sample, const LabelledPixel* pixels, int height, int width) const;

 private:
  LoaderConfig config_;
  int number_;
  std::vector<int> order_;  // of the samples
};

}  // namespace scrawl
