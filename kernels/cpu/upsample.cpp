// Bilinear resize, separable: one row is blended from two input rows (contiguous, whatever the channels are),
// then its cells are blended along the row.  Backward is the transpose in the same two steps: an input row
// gathers the output rows that read it, then each cell the columns that read it, both in rising order.
// Bound by memory; forward blends the whole input row, so strong down-sizing costs more than it needs.
#include "kernels/upsample.h"

#include "kernels/cpu/parallel.h"
#include "kernels/cpu/resize.h"

namespace scrawl::cpu {
namespace {

/// A thread's row of scratch, a multiple of 64 bytes apart.
int64_t scratch_stride(int64_t row) {
  return (row + 15) / 16 * 16;
}

void gather_row(const float* row, const TransposedAxis& columns, int width, int channels, bool accumulate,
                float* out) {
  for (int cell = 0; cell < width; ++cell, out += channels) {
    bool add = accumulate;
    const auto taps = columns.of(cell);
    if (taps.empty() && !add) std::fill_n(out, channels, 0.0f);
    for (const auto& tap : taps) {
      add_scaled(tap.weight, row + int64_t{tap.output} * channels, channels, add, out);
      add = true;
    }
  }
}

}  // namespace

void run(const UpsampleForward& args, Queue& queue) {
  require_f32(args.dtype, args.name);
  const auto* x = static_cast<const float*>(args.x);
  auto* y = static_cast<float*>(args.y);
  const UpsampleShape& shape = args.shape;
  const auto rows = interpolations(shape.rows()), columns = interpolations(shape.columns());
  const int64_t channels = shape.channels, in_row = shape.in_width * channels,
                out_row = shape.out_width * channels, stride = scratch_stride(in_row);
  float* scratch = queue.scratch(stride * queue.threads());

  parallel_chunks(queue, shape.images * shape.out_height, grain_for(out_row),
                  [&](int64_t begin, int64_t end) {
                    float* blended = scratch + omp_get_thread_num() * stride;
                    for (int64_t row = begin; row < end; ++row) {
                      const float* image = x + row / shape.out_height * shape.in_height * in_row;
                      const Interpolation& at = rows[row % shape.out_height];
                      blend(image + at.low * in_row, image + at.high * in_row, at.fraction, in_row, blended);
                      float* out = y + row * out_row;
                      for (int i = 0; i < shape.out_width; ++i)
                        blend(blended + columns[i].low * channels, blended + columns[i].high * channels,
                              columns[i].fraction, channels, out + i * channels);
                    }
                  });
}

void run(const UpsampleBackward& args, Queue& queue) {
  require_f32(args.dtype, args.name);
  const auto* dy = static_cast<const float*>(args.dy);
  auto* dx = static_cast<float*>(args.dx);
  const UpsampleShape& shape = args.shape;
  const TransposedAxis rows(shape.rows()), columns(shape.columns());
  const int64_t in_row = int64_t{shape.in_width} * shape.channels,
                out_row = int64_t{shape.out_width} * shape.channels, stride = scratch_stride(out_row);
  float* scratch = queue.scratch(stride * queue.threads());

  parallel_chunks(
      queue, shape.images * shape.in_height, grain_for(4 * out_row), [&](int64_t begin, int64_t end) {
        float* gathered = scratch + omp_get_thread_num() * stride;
        for (int64_t row = begin; row < end; ++row) {
          const float* image = dy + row / shape.in_height * shape.out_height * out_row;
          const auto taps = rows.of(row % shape.in_height);
          if (taps.empty()) std::fill_n(gathered, out_row, 0.0f);
          bool add = false;
          for (const auto& tap : taps) {
            add_scaled(tap.weight, image + tap.output * out_row, out_row, add, gathered);
            add = true;
          }
          gather_row(gathered, columns, shape.in_width, shape.channels, args.accumulate, dx + row * in_row);
        }
      });
}

}  // namespace scrawl::cpu
