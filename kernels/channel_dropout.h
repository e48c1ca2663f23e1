#pragma once
#include <string_view>

#include "kernels/cost.h"
#include "kernels/dtype.h"
#include "kernels/queue.h"
#include "kernels/step_state.h"

namespace scrawl {

/// y (+)= x with whole channels of a sample set to zero with probability `rate`, the others scaled by
/// 1/(1 − rate).  x, y [images, positions, channels].  Its own backward: apply it to dy.
struct ChannelDropout {
  static constexpr std::string_view name = "channel_dropout";
  DType dtype = DType::f32;
  const void* x = nullptr;
  void* y = nullptr;
  int64_t images = 0, positions = 0;
  int channels = 0;
  float rate = 0.0f;
  RandomStream random;
  bool accumulate = false;

  /// Factor of one channel of one sample.
  constexpr float scale(int64_t image, int channel) const {
    const auto index = static_cast<uint32_t>(image * channels + channel);
    return random.uniform_at(index) < 1.0f - rate ? 1.0f / (1.0f - rate) : 0.0f;
  }
  Cost cost() const {
    const int64_t elements = images * positions * channels;
    return {(accumulate ? 3 : 2) * elements * size_of(dtype), elements};
  }
};

namespace cpu {
void run(const ChannelDropout&, Queue&);
}
namespace cuda {
void run(const ChannelDropout&, Queue&);
}
namespace simt {
void run(const ChannelDropout&, Queue&);
}

}  // namespace scrawl
