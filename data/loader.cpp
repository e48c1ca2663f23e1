#include "data/loader.h"

#include <algorithm>
#include <numeric>

#include "data/augmentation.h"
#include "engine/error.h"
#include "engine/random.h"

namespace scrawl {

namespace {

constexpr size_t kCacheBytes = size_t{1} << 30;

// Random streams: one of each kind an epoch.
constexpr uint64_t kShuffleStream = uint64_t{1} << 32, kAugmentStream = uint64_t{2} << 32;

size_t bytes_of(const Sample& sample) {
  return sample.image.pixels.size() + sample.label.labels.size();
}

/// Fisher and Yates.
void shuffle(std::vector<int>& order, Random random) {
  for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random.below(i)]);
}

void check(const Dataset& dataset, const LoaderConfig& config) {
  if (config.batch_size < 1) throw InputError("batch_size is {}, expected at least 1", config.batch_size);
  if (config.crop_height < 1 || config.crop_width < 1) {
    throw InputError("the crop is {} x {}, expected at least 1 x 1", config.crop_width, config.crop_height);
  }
  if (config.workers < 0) throw InputError("{} loader workers, expected 0 or more", config.workers);
  if (config.train && dataset.size() < config.batch_size) {
    throw InputError("{}: {} images do not fill one batch of {}; choose a batch_size of at most {}",
                     (dataset.config().root / dataset.config().list).string(), dataset.size(),
                     config.batch_size, dataset.size());
  }
}

}  // namespace

Loader::Loader(const Dataset& dataset, LoaderConfig config)
    : dataset_(dataset), config_(config), cache_(dataset.size()) {
  check(dataset, config_);
  for (int i = 0; i < config_.workers; ++i)
    threads_.emplace_back([this](std::stop_token stop) { work(stop); });
}

Loader::~Loader() = default;  // each jthread asks its thread to stop, then joins it

int Loader::batches_per_epoch() const {
  const int size = dataset_.size(), batch = config_.batch_size;
  return config_.train ? size / batch : (size + batch - 1) / batch;
}

void Loader::start_epoch(int epoch) {
  std::vector<int> order(dataset_.size());
  std::iota(order.begin(), order.end(), 0);
  if (config_.train && config_.shuffle) shuffle(order, Random(config_.seed, kShuffleStream + epoch));
  {
    const std::lock_guard lock(mutex_);
    epoch_ = {epoch_.generation + 1, epoch, std::make_shared<const std::vector<int>>(std::move(order))};
    taken_ = returned_ = 0;
    prepared_.clear();
  }
  changed_.notify_all();
}

bool Loader::next(Batch& batch) {
  std::unique_lock lock(mutex_);
  if (!epoch_.order || returned_ == batches_per_epoch()) return false;
  const int index = returned_++;
  if (config_.workers == 0) {
    prepare(batch, epoch_, index);
    return true;
  }
  changed_.wait(lock, [&] { return prepared_.contains(index); });
  Prepared ready = std::move(prepared_.extract(index).mapped());
  std::swap(batch, ready.batch);
  spare_.push_back(std::move(ready.batch));
  lock.unlock();
  changed_.notify_all();
  if (ready.error) std::rethrow_exception(ready.error);
  return true;
}

void Loader::work(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  while (true) {
    // One batch ready for each worker, besides the one that it works on, bounds the memory.
    const bool more = changed_.wait(lock, stop, [&] {
      return epoch_.order && taken_ < std::min(batches_per_epoch(), returned_ + 2 * config_.workers);
    });
    if (!more || stop.stop_requested()) return;
    const int index = taken_++;
    const Epoch epoch = epoch_;
    Prepared result;
    if (!spare_.empty()) {
      result.batch = std::move(spare_.back());
      spare_.pop_back();
    }
    lock.unlock();
    try {
      prepare(result.batch, epoch, index);
    } catch (...) {
      result.error = std::current_exception();
    }
    lock.lock();
    if (epoch.generation != epoch_.generation) continue;  // the epoch was abandoned meanwhile
    prepared_.insert_or_assign(index, std::move(result));
    changed_.notify_all();
  }
}

void Loader::prepare(Batch& batch, const Epoch& epoch, int index) {
  const int first = index * config_.batch_size;
  batch.count = std::min(config_.batch_size, dataset_.size() - first);
  batch.height = config_.crop_height;
  batch.width = config_.crop_width;
  const size_t pixels = size_t{1} * batch.count * batch.height * batch.width;
  batch.ids.resize(batch.count);
  batch.image.resize(3 * pixels);
  batch.label.resize(pixels);
  batch.present.resize(size_t{1} * batch.count * dataset_.classes());
  for (int slot = 0; slot < batch.count; ++slot)
    prepare_sample(batch, slot, (*epoch.order)[first + slot], epoch.number);
}

void Loader::prepare_sample(Batch& batch, int slot, int index, int epoch) {
  const std::shared_ptr<const Sample> from = sample(index);
  FloatImage image = to_float(from->image);
  LabelMap label = from->label;
  if (config_.train) {
    Random random(config_.seed, kAugmentStream + epoch, index);
    augment(draw_augmentation(random, image.height, image.width, batch.height, batch.width), image, label);
  } else {
    const Window window = center_window(image.height, image.width, batch.height, batch.width);
    image = crop(image, window);
    label = crop(label, window);
  }
  const size_t pixels = size_t{1} * batch.height * batch.width;
  batch.ids[slot] = from->id;
  normalise(image, batch.image.data() + 3 * pixels * slot);
  std::copy(label.labels.begin(), label.labels.end(), batch.label.begin() + pixels * slot);
  std::copy(from->present.begin(), from->present.end(),
            batch.present.begin() + size_t{1} * slot * dataset_.classes());
}

std::shared_ptr<const Sample> Loader::sample(int index) {
  {
    const std::lock_guard lock(cache_mutex_);
    if (cache_[index]) return cache_[index];
  }
  auto read = std::make_shared<const Sample>(dataset_.read(index));
  const std::lock_guard lock(cache_mutex_);
  if (!cache_[index] && cached_bytes_ + bytes_of(*read) <= kCacheBytes) {
    cached_bytes_ += bytes_of(*read);
    cache_[index] = read;
  }
  return read;
}

}  // namespace scrawl
