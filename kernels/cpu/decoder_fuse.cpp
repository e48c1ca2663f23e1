// The decoder's sum of four maps at the finest size, in one pass over the output: the rows of the three
// coarser maps are blended first (a few cells wide, so they stay in the cache), then every output cell adds
// its own value, the bias and three blends of neighbouring cells.  Bound by reading level 0 and writing y.
#include "kernels/decoder_fuse.h"

#include "kernels/cpu/parallel.h"
#include "kernels/cpu/resize.h"

namespace scrawl::cpu {
namespace {

constexpr int kCoarse = 3;

struct Level {
  const float* z;
  int height, width;
  std::vector<Interpolation> rows, columns;
  int64_t offset;  // of its blended row in a thread's scratch
};

/// One cell: two cells of each coarse level and how far between them.
struct Cell {
  const float* low[kCoarse];
  const float* high[kCoarse];
  float fraction[kCoarse];
};

void fuse_cell(const float* z0, const float* bias, const Cell& cell, int channels, float* y) {
  const float *a0 = cell.low[0], *a1 = cell.high[0], *b0 = cell.low[1], *b1 = cell.high[1], *c0 = cell.low[2],
              *c1 = cell.high[2];
  const float fa = cell.fraction[0], fb = cell.fraction[1], fc = cell.fraction[2];
#pragma omp simd
  for (int i = 0; i < channels; ++i) {
    const float coarse =
        (a0[i] + fa * (a1[i] - a0[i])) + (b0[i] + fb * (b1[i] - b0[i])) + (c0[i] + fc * (c1[i] - c0[i]));
    y[i] = z0[i] + bias[i] + coarse;
  }
}

}  // namespace

void run(const DecoderFuseForward& args, Queue& queue) {
  require_f32(args.dtype, args.name);
  const auto* z0 = static_cast<const float*>(args.z[0]);
  auto* y = static_cast<float*>(args.y);
  const int height = args.heights[0], width = args.widths[0];
  const int64_t channels = args.channels;
  std::array<Level, kCoarse> levels;
  int64_t stride = 0;
  for (int i = 0; i < kCoarse; ++i) {
    const int level_height = args.heights[i + 1], level_width = args.widths[i + 1];
    levels[i] = {static_cast<const float*>(args.z[i + 1]),
                 level_height,
                 level_width,
                 interpolations({level_height, height, false}),
                 interpolations({level_width, width, false}),
                 stride};
    stride += (level_width * channels + 15) / 16 * 16;
  }
  float* scratch = queue.scratch(stride * queue.threads());

  parallel_chunks(queue, args.images * height, grain_for(width * channels), [&](int64_t begin, int64_t end) {
    float* blended = scratch + omp_get_thread_num() * stride;
    for (int64_t row = begin; row < end; ++row) {
      for (const Level& level : levels) {
        const int64_t level_row = level.width * channels;
        const float* image = level.z + row / height * level.height * level_row;
        const Interpolation& at = level.rows[row % height];
        blend(image + at.low * level_row, image + at.high * level_row, at.fraction, level_row,
              blended + level.offset);
      }
      for (int column = 0; column < width; ++column) {
        Cell cell;
        for (int i = 0; i < kCoarse; ++i) {
          const Interpolation& at = levels[i].columns[column];
          cell.low[i] = blended + levels[i].offset + at.low * channels;
          cell.high[i] = blended + levels[i].offset + at.high * channels;
          cell.fraction[i] = at.fraction;
        }
        const int64_t offset = (row * width + column) * channels;
        fuse_cell(z0 + offset, args.bias, cell, args.channels, y + offset);
      }
    }
  });
}

}  // namespace scrawl::cpu
