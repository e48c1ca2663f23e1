// Dropout of whole channels: one pass, bound by memory.  The factors of an image's channels are drawn once
// into a table that every position then multiplies with.
#include "kernels/channel_dropout.h"

#include "kernels/cpu/parallel.h"

namespace scrawl::cpu {

void run(const ChannelDropout& args, Queue& queue) {
  require_f32(args.dtype, args.name);
  const auto* x = static_cast<const float*>(args.x);
  auto* y = static_cast<float*>(args.y);
  const bool accumulate = args.accumulate;
  const int channels = args.channels;
  float* scales = queue.scratch(args.images * channels);
  for (int64_t image = 0; image < args.images; ++image)
    for (int c = 0; c < channels; ++c) scales[image * channels + c] = args.scale(image, c);

  parallel_chunks(queue, args.images * args.positions, grain_for(channels), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const float* scale = scales + row / args.positions * channels;
      const float* from = x + row * channels;
      float* to = y + row * channels;
#pragma omp simd
      for (int c = 0; c < channels; ++c) to[c] = (accumulate ? to[c] : 0.0f) + scale[c] * from[c];
    }
  });
}

}  // namespace scrawl::cpu
