#pragma once
#include "engine/device.h"
#include "train/commands/commands.h"

namespace scrawl {

/// The options of the device that was asked for; of `auto`, the GPU when there is one, or else the processor.
/// InputError when the device is absent.
Device::Options device_options(const DeviceOptions& options);

}  // namespace scrawl
