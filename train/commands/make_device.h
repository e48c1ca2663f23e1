#pragma once
#include "engine/device.h"
#include "train/commands/commands.h"

namespace scrawl {

/// The options of the device that was asked for; InputError when this build does not have it.
Device::Options device_options(const DeviceOptions& options);

}  // namespace scrawl
