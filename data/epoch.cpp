#include "data/epoch.h"

#include <algorithm>
#include <numeric>

#include "data/augmentation.h"
#include "engine/error.h"
#include "engine/random.h"

namespace scrawl {

namespace {

// Random streams: one of each kind an epoch.
constexpr uint64_t kShuffleStream = uint64_t{1} << 32, kAugmentStream = uint64_t{2} << 32;

/// Fisher and Yates.
void shuffle(std::vector<int>& order, Random random) {
  for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random.below(i)]);
}

}  // namespace

void check(const Dataset& dataset, const LoaderConfig& config) {
  if (config.batch_size < 1) throw InputError("batch_size is {}, expected at least 1", config.batch_size);
  if (config.crop_height < 1 || config.crop_width < 1) {
    throw InputError("the crop is {} x {}, expected at least 1 x 1", config.crop_width, config.crop_height);
  }
  if (config.workers < 0) throw InputError("{} loader workers, expected 0 or more", config.workers);
  if (config.train)
    require_full_batch(dataset.config().root / dataset.config().list, dataset.ids().size(),
                       config.batch_size);
}

int batches_per_epoch(const Dataset& dataset, const LoaderConfig& config) {
  const int size = dataset.size(), batch = config.batch_size;
  return config.train ? size / batch : (size + batch - 1) / batch;
}

Epoch::Epoch(const LoaderConfig& config, int samples, int number)
    : config_(config), number_(number), order_(samples) {
  std::iota(order_.begin(), order_.end(), 0);
  if (config.train && config.shuffle) shuffle(order_, Random(config.seed, kShuffleStream + number));
}

std::span<const int> Epoch::batch(int index) const {
  const size_t first = size_t{1} * index * config_.batch_size;
  return std::span(order_).subspan(first, std::min<size_t>(config_.batch_size, order_.size() - first));
}

CropPlan Epoch::plan(int sample, const LabelledPixel* pixels, int height, int width) const {
  AugmentationPlan plan;
  if (config_.train) {
    Random random(config_.seed, kAugmentStream + number_, sample);
    plan = draw_augmentation(random, height, width, config_.crop_height, config_.crop_width);
  } else {
    plan.corner = center_corner(height, width, config_.crop_height, config_.crop_width);
  }
  return crop_plan(plan, pixels, height, width);
}

}  // namespace scrawl
