#pragma once
#include <algorithm>

#include "engine/device.h"
#include "kernels/dtype.h"

namespace scrawl {

/// What a device can do at best, measured by running it.
struct Peaks {
  double bytes_per_second = 0.0;  // streaming through memory, read and written bytes together
  double flops = 0.0;             // of a large matrix product

  /// The least time in which a kernel with this cost could run: the larger of bytes and operations.
  double floor_seconds(const Cost& cost) const {
    return std::max(static_cast<double>(cost.bytes) / bytes_per_second,
                    static_cast<double>(cost.flops) / flops);
  }
};

/// `dtype` is the storage type of the matrix product, f32 or bf16.
Peaks measure_peaks(Device& device, DType dtype = DType::f32);

}  // namespace scrawl
