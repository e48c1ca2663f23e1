#include "data/loader.h"

#include <algorithm>

#include "kernels/cpu/queue.h"

namespace scrawl {

namespace {

constexpr size_t kCacheBytes = size_t{1} << 30;

size_t bytes_of(const PackedSample& sample) {
  return sample.pixels.size() * sizeof(LabelledPixel);
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
  return scrawl::batches_per_epoch(dataset_, config_);
}

void Loader::start_epoch(int epoch) {
  auto samples = std::make_shared<const Epoch>(config_, dataset_.size(), epoch);
  {
    const std::lock_guard lock(mutex_);
    epoch_ = std::move(samples);
    taken_ = returned_ = 0;
    prepared_.clear();
  }
  changed_.notify_all();
}

bool Loader::next(Batch& batch) {
  std::unique_lock lock(mutex_);
  if (!epoch_ || returned_ == batches_per_epoch()) return false;
  const int index = returned_++;
  if (config_.workers == 0) {
    prepare(batch, *epoch_, index);
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
      return epoch_ && taken_ < std::min(batches_per_epoch(), returned_ + 2 * config_.workers);
    });
    if (!more || stop.stop_requested()) return;
    const int index = taken_++;
    const std::shared_ptr<const Epoch> epoch = epoch_;
    Prepared result;
    if (!spare_.empty()) {
      result.batch = std::move(spare_.back());
      spare_.pop_back();
    }
    lock.unlock();
    try {
      prepare(result.batch, *epoch, index);
    } catch (...) {
      result.error = std::current_exception();
    }
    lock.lock();
    if (epoch != epoch_) continue;  // the epoch was abandoned meanwhile
    prepared_.insert_or_assign(index, std::move(result));
    changed_.notify_all();
  }
}

void Loader::prepare(Batch& batch, const Epoch& epoch, int index) {
  const std::span<const int> samples = epoch.batch(index);
  batch.count = static_cast<int>(samples.size());
  batch.height = config_.crop_height;
  batch.width = config_.crop_width;
  const size_t pixels = size_t{1} * batch.count * batch.height * batch.width;
  batch.ids.clear();
  batch.present.clear();
  batch.image.resize(3 * pixels);
  batch.label.resize(pixels);
  std::vector<std::shared_ptr<const PackedSample>> held;
  std::vector<CropPlan> plans;
  for (const int i : samples) {
    const PackedSample& sample = *held.emplace_back(this->sample(i));
    plans.push_back(epoch.plan(i, sample.pixels.data(), sample.height, sample.width));
    batch.ids.push_back(sample.id);
    batch.present.insert(batch.present.end(), sample.present.begin(), sample.present.end());
  }
  cpu::Queue queue(/*threads=*/1);
  run(AugmentCrops{.plans = plans.data(),
                   .images = batch.count,
                   .height = batch.height,
                   .width = batch.width,
                   .image = batch.image.data(),
                   .label = batch.label.data()},
      queue);
}

std::shared_ptr<const PackedSample> Loader::sample(int index) {
  {
    const std::lock_guard lock(cache_mutex_);
    if (cache_[index]) return cache_[index];
  }
  auto read = std::make_shared<const PackedSample>(pack(dataset_.read(index)));
  const std::lock_guard lock(cache_mutex_);
  if (!cache_[index] && cached_bytes_ + bytes_of(*read) <= kCacheBytes) {
    cached_bytes_ += bytes_of(*read);
    cache_[index] = read;
  }
  return read;
}

}  // namespace scrawl
