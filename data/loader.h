#pragma once
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "data/epoch.h"
#include "data/packed_sample.h"

namespace scrawl {

/// What one step takes in.
struct Batch {
  std::vector<std::string> ids;
  int count = 0, height = 0, width = 0;
  std::vector<float> image;      // N,H,W,3, normalised
  std::vector<uint8_t> label;    // N,H,W
  std::vector<uint8_t> present;  // N,classes
};

/// Prepares the batches of an epoch ahead of their use.  What a batch holds depends on the data set, the
/// configuration and the epoch alone, never on the number of workers or their timing.
/// Decoded samples are kept in memory up to 1 GiB; what does not fit is decoded again every epoch.
class Loader {
 public:
  /// `dataset` must outlive the loader.  InputError when training and the set is smaller than one batch.
  Loader(const Dataset& dataset, LoaderConfig config);
  ~Loader();
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  int batches_per_epoch() const;

  /// Begins an epoch; what is left of the one before is dropped.
  void start_epoch(int epoch);

  /// The next batch, or false after the last.  Reuses the memory of the batch that it is given.  An error
  /// while preparing a batch is thrown here, when its turn comes.
  bool next(Batch& batch);

 private:
  struct Prepared {
    Batch batch;
    std::exception_ptr error;
  };

  void work(const std::stop_token& stop);
  void prepare(Batch& batch, const Epoch& epoch, int index);
  std::shared_ptr<const PackedSample> sample(int index);

  const Dataset& dataset_;
  const LoaderConfig config_;

  std::mutex mutex_;  // guards the next five
  std::shared_ptr<const Epoch> epoch_;  // a new one for every start, which tells it from an abandoned one
  int taken_ = 0, returned_ = 0;  // batches that workers have begun; that next() has asked for
  std::map<int, Prepared> prepared_;
  std::vector<Batch> spare_;  // memory to reuse
  std::condition_variable_any changed_;

  std::mutex cache_mutex_;
  std::vector<std::shared_ptr<const PackedSample>> cache_;
  size_t cached_bytes_ = 0;

  std::vector<std::jthread> threads_;  // last: joined before anything above goes away
};

}  // namespace scrawl
