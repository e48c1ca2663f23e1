#pragma once
#include <memory>
#include <span>
#include <vector>

#include "data/sample_store.h"
#include "engine/device.h"
#include "kernels/augmentation.h"

namespace scrawl {

/// Where the decoded samples of a data set are kept.
enum class SampleHome {
  device,  // all of them in the device's memory
  pinned,  // in host memory, from where each batch's are copied while the one before is computed on
  files,   // nowhere: they are decoded again in every epoch
};

/// Bytes that are free.
struct FreeMemory {
  int64_t device = 0, host = 0;
};
FreeMemory free_memory(const Device& device);

/// The first of them where samples of so many bytes take at most half of what is free: a device needs the
/// rest for the model's activations, a host for everything else.
SampleHome choose_home(int64_t bytes, const FreeMemory& free);

/// Samples in the memory of a device, ready to be augmented.
class SampleMemory {
 public:
  virtual ~SampleMemory() = default;
  /// Takes bytes of samples in, at their places in the store.
  virtual void write(int64_t offset, const void* data, int64_t bytes) = 0;
  /// Where the device finds the samples of a batch: kernels launched until the next call may read them.
  /// `following` is the batch after it, or empty; it may be brought meanwhile.
  virtual std::vector<const LabelledPixel*> bring(std::span<const int> batch,
                                                  std::span<const int> following) = 0;
};

/// Memory for all samples of a store; `home` is device or pinned.  `batch_size` is the most that bring() is
/// asked for.
std::unique_ptr<SampleMemory> make_sample_memory(Device& device, const SampleStore& store, SampleHome home,
                                                 int batch_size);

}  // namespace scrawl
