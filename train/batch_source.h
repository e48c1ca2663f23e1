#pragma once
#include <memory>

#include "data/loader.h"
#include "model/pfa.h"
#include "train/sample_memory.h"

namespace scrawl {

/// Where a device's batches come from.  What an epoch's batches hold depends on data set, configuration and
/// epoch alone, never on the kind of source.
class BatchSource {
 public:
  virtual ~BatchSource() = default;

  virtual int batches_per_epoch() const = 0;
  /// Begins an epoch; what is left of the one before is dropped.
  virtual void start_epoch(int epoch) = 0;
  /// Brings what the next batch is made of to the device; false after the last.  Errors in the files of a
  /// batch are thrown when its turn comes.
  virtual bool next() = 0;
  /// The image-level tags of that batch, u8 [N,K]; they choose the phase ahead of the step.
  virtual const std::vector<uint8_t>& tags() const = 0;
  /// Makes that batch, by kernels alone, which read and write the same places every time: this may be part of
  /// a captured step.  The memory holds it until the following batch.
  virtual DeviceBatch make() = 0;
};

/// On cpu, worker threads prepare batches.  On other devices samples are decoded once, when the first epoch
/// starts, and kernels make the batches, as long as there is memory for the samples; what is done is logged.
/// `dataset` and `device` must outlive the source.  InputError for a configuration that gives no batch.
std::unique_ptr<BatchSource> make_batch_source(Device& device, const Dataset& dataset,
                                               const LoaderConfig& config);
std::unique_ptr<BatchSource> make_batch_source(Device& device, const Dataset& dataset,
                                               const LoaderConfig& config, const FreeMemory& free);

}  // namespace scrawl
