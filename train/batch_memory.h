#pragma once
#include "data/epoch.h"
#include "model/pfa.h"

namespace scrawl {

/// The place of a batch in the device's memory.
struct BatchMemory {
  BatchMemory(Device& device, const LoaderConfig& config, int classes, DType storage)
      : image(device, {config.batch_size, config.crop_height, config.crop_width, 3}, storage),
        label(device, {config.batch_size, config.crop_height, config.crop_width}, DType::u8),
        present(device, {config.batch_size, classes}, DType::u8) {}

  /// The first `count` images: all, but for the last batch of a validation.
  DeviceBatch first(int64_t count) const {
    return {.image = image.slice(0, {count, image.dim(1), image.dim(2), 3}),
            .label = label.slice(0, {count, label.dim(1), label.dim(2)}),
            .present = present.slice(0, {count, present.dim(1)})};
  }

  Tensor image, label, present;
};

}  // namespace scrawl
