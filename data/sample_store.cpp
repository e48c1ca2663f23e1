#include "data/sample_store.h"

#include <algorithm>
#include <mutex>

#include "data/packed_sample.h"
#include "engine/error.h"

namespace scrawl {

int64_t SampleStore::Place::bytes() const {
  return int64_t{height} * width * static_cast<int64_t>(sizeof(LabelledPixel));
}

SampleStore::SampleStore(const Dataset& dataset)
    : dataset_(dataset), places_(dataset.size()), present_(dataset.size()) {
  for_each_index(dataset.size(), [&](int i) {
    const ImageSize size = dataset.image_size(i);
    places_[i] = {.height = size.height, .width = size.width};
  });
  for (Place& place : places_) {
    place.offset = bytes_;
    bytes_ += place.bytes();
    largest_ = std::max(largest_, place.bytes());
  }
}

void SampleStore::load(const std::function<void(int64_t offset, const void* data, int64_t bytes)>& write,
                       const ProgressCallback& progress) {
  std::mutex mutex;  // of write
  const auto load_sample = [&](int i) {
    PackedSample sample = pack(dataset_.read(i));
    const Place& place = places_[i];
    if (sample.height != place.height || sample.width != place.width)
      throw InputError("image {} changed its size from {} x {} to {} x {} while it was read", sample.id,
                       place.width, place.height, sample.width, sample.height);
    present_[i] = std::move(sample.present);
    const std::lock_guard lock(mutex);
    write(place.offset, sample.pixels.data(), place.bytes());
  };
  for_each_index(dataset_.size(), load_sample, progress);
}

}  // namespace scrawl
