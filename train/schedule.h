#pragma once
#include "train/config/config.h"

namespace scrawl {

/// What the base learning rates are multiplied by in an epoch (counted from 0): 1 − epoch/(epochs + 1), or a
/// tenth after each third of the epochs.
float lr_factor(LrPolicy policy, int epoch, int epochs);

}  // namespace scrawl
