#pragma once
#include <cstdint>
#include <functional>
#include <vector>

#include "data/dataset.h"
#include "data/for_each_index.h"

namespace scrawl {

/// All samples of a data set one behind the other in a block of memory, wherever that lies, as LabelledPixel.
class SampleStore {
 public:
  /// Finds every sample's place from the sizes in the images' headers.  `dataset` must outlive the store.
  /// InputError for images without a readable header.
  explicit SampleStore(const Dataset& dataset);

  /// Decodes everything, in parallel.  `write` is called once for each sample, by one thread at a time.
  /// InputError for files that cannot be used.
  void load(const std::function<void(int64_t offset, const void* data, int64_t bytes)>& write,
            const ProgressCallback& progress = {});

  struct Place {
    int64_t offset = 0;  // in bytes
    int height = 0, width = 0;
    int64_t bytes() const;
  };
  const Place& place(int sample) const { return places_[sample]; }
  int64_t bytes() const { return bytes_; }      // of all samples
  int64_t largest() const { return largest_; }  // bytes of one
  /// Image-level tags [classes], once loaded.
  const std::vector<uint8_t>& present(int sample) const { return present_[sample]; }

 private:
  const Dataset& dataset_;
  std::vector<Place> places_;
  int64_t bytes_ = 0, largest_ = 0;
  std::vector<std::vector<uint8_t>> present_;
};

}  // namespace scrawl
