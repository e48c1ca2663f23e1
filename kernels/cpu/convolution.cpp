// Convolution as matrix products over gathered patches ("columns"), one tile of output positions at a time so
// that columns stay in the cache.  A kernel row of a patch is contiguous in N,H,W,C memory: kernel · channels
// values are copied at once.
// Backward to the input works by kernel rows: the pairs (output row, kernel row) that meet in a band of input
// rows belong to that band alone, so bands run in parallel without overlap or repeated work, and every
// element is summed in one order.  Backward to the weights splits positions into fixed parts and wide patches
// into their kernel rows.
// Cost: bound by the products except for few channels, where gathering counts.
// 3×3 convolutions of many channels whose outputs are as many as their inputs go Winograd's way (winograd.h).
// Limits: at most one tile of columns a thread plus the partial sums lies in scratch.
#include "kernels/convolution.h"

#include <algorithm>

#include "kernels/cpu/gemm.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/partial_sums.h"
#include "kernels/cpu/transpose.h"
#include "kernels/cpu/winograd.h"

namespace scrawl::cpu {

namespace {

/// How many positions a tile of patches of `width` values has, for `count` positions in all.
int64_t tile_of(int64_t count, int64_t width) {
  constexpr int64_t kValues = 131072, kLeast = 256, kMost = 512, kTiles = 8;
  const int64_t most = std::clamp<int64_t>(kValues / std::max<int64_t>(1, width), kLeast, kMost);
  return even_piece(count, std::max(kTiles, ceil_div(count, most)));
}

/// The part of an input row that one kernel row of output column `ox` sees: elements [begin, end) of its
/// kernel · channels values lie inside the map, from element `source` of the row.
struct Span {
  int64_t begin = 0, end = 0, source = 0;
  Span(const ConvolutionShape& shape, int ox) {
    const int left = ox * shape.stride - shape.padding;
    const int first = std::clamp(-left, 0, shape.kernel);
    const int last = std::clamp(shape.width - left, first, shape.kernel);
    begin = int64_t{first} * shape.channels;
    end = int64_t{last} * shape.channels;
    source = int64_t{left + first} * shape.channels;
  }
};

/// Kernel rows [first, last) of the patches of output positions [begin, end), one patch a row of `columns`.
void gather(const ConvolutionShape& shape, const float* x, int64_t begin, int64_t end, int first, int last,
            float* columns) {
  const int64_t width = int64_t{shape.kernel} * shape.channels,
                row_size = int64_t{shape.width} * shape.channels;
  int ox = static_cast<int>(begin % shape.out_width());
  int oy = static_cast<int>(begin / shape.out_width() % shape.out_height());
  int64_t image = begin / shape.out_width() / shape.out_height();
  for (int64_t position = begin; position < end; ++position) {
    const Span span(shape, ox);
    for (int ky = first; ky < last; ++ky, columns += width) {
      const int iy = oy * shape.stride - shape.padding + ky;
      if (iy < 0 || iy >= shape.height) {
        std::fill(columns, columns + width, 0.0f);
        continue;
      }
      std::fill(columns, columns + span.begin, 0.0f);
      std::copy_n(x + (image * shape.height + iy) * row_size + span.source, span.end - span.begin,
                  columns + span.begin);
      std::fill(columns + span.end, columns + width, 0.0f);
    }
    if (++ox < shape.out_width()) continue;
    ox = 0;
    if (++oy < shape.out_height()) continue;
    oy = 0;
    ++image;
  }
}

int64_t positions_of(const ConvolutionShape& shape) {
  return shape.images * shape.out_height() * shape.out_width();
}

/// A band of input rows of one image.
struct Band {
  int64_t image = 0;
  int top = 0, bottom = 0;
};

/// dx of a band (+)= what its pairs (output row, kernel row ky) carry: rows of dy times the weights of ky,
/// each product row added to the kernel · channels values that the patch saw.  `columns` holds one band's
/// products.
void band_gradient(const ConvolutionBackwardInput& args, const Band& band, int ky, float* columns) {
  const ConvolutionShape& shape = args.shape;
  const int64_t width = int64_t{shape.kernel} * shape.channels;
  const int out_width = shape.out_width(), stride = shape.stride;
  // Output rows oy with band.top <= oy · stride − padding + ky < band.bottom.
  const int offset = shape.padding - ky;
  const int first = static_cast<int>(ceil_div(std::max(0, band.top + offset), stride));
  const int last = std::min<int>(shape.out_height(),
                                 static_cast<int>(ceil_div(std::max(0, band.bottom + offset), stride)));
  if (first >= last) return;
  const float* dy = static_cast<const float*>(args.dy) +
                    (band.image * shape.out_height() + first) * out_width * shape.out_channels;
  const float* w = static_cast<const float*>(args.w) + ky * width;
  gemm(int64_t{last - first} * out_width, width, shape.out_channels, {dy, shape.out_channels},
       {w, shape.patch()}, 0.0f, columns, width);
  for (int oy = first; oy < last; ++oy) {
    const int iy = oy * stride - offset;
    float* row = static_cast<float*>(args.dx) +
                 (band.image * shape.height + iy) * int64_t{shape.width} * shape.channels;
    for (int ox = 0; ox < out_width; ++ox, columns += width) {
      const Span span(shape, ox);
      const float* from = columns + span.begin;
      float* to = row + span.source;
#pragma omp simd
      for (int64_t i = 0; i < span.end - span.begin; ++i) to[i] += from[i];
    }
  }
}

}  // namespace

void run(const ConvolutionForward& args, Queue& queue) {
  require_f32(args.dtype, args.name);
  const ConvolutionShape& shape = args.shape;
  if (suits_winograd(shape)) return run_winograd(args, queue);
  const int64_t positions = positions_of(shape), patch = shape.patch(), outputs = shape.out_channels;
  const int64_t tile = tile_of(positions, patch);
  const int64_t turned_space = ceil_div(patch * outputs, 16) * 16;
  float* const turned = queue.scratch(turned_space + queue.threads() * tile * patch);
  transpose(queue, static_cast<const float*>(args.w), patch, outputs, patch, turned);
  parallel_chunks(queue, positions, tile, [&](int64_t begin, int64_t end) {
    float* columns = turned + turned_space + omp_get_thread_num() * tile * patch;
    gather(shape, static_cast<const float*>(args.x), begin, end, 0, shape.kernel, columns);
    float* y = static_cast<float*>(args.y) + begin * outputs;
    gemm(end - begin, outputs, patch, {columns, patch}, {turned, outputs}, 0.0f, y, outputs);
    for (int64_t row = 0; row < end - begin; ++row) {
#pragma omp simd
      for (int64_t c = 0; c < outputs; ++c) y[row * outputs + c] += static_cast<const float*>(args.bias)[c];
    }
  });
}

void run(const ConvolutionBackwardInput& args, Queue& queue) {
  require_f32(args.dtype, args.name);
  const ConvolutionShape& shape = args.shape;
  if (suits_winograd(shape)) return run_winograd(args, queue);
  if (shape.images == 0) return;
  constexpr int kTasks = 8, kLeastPositions = 128;
  // Bands of whole strides, tall enough for a product worth calling.
  const int least =
      static_cast<int>(ceil_div(kLeastPositions, std::max(1, shape.out_width()))) * shape.stride;
  const int wanted = static_cast<int>(ceil_div(shape.height, ceil_div(kTasks, shape.images)));
  const int band_rows = static_cast<int>(ceil_div(std::max(least, wanted), shape.stride)) * shape.stride;
  const int64_t bands = ceil_div(shape.height, band_rows);
  const int64_t row_size = int64_t{shape.width} * shape.channels;
  const int64_t space =
      (int64_t{band_rows} / shape.stride + 1) * shape.out_width() * shape.kernel * shape.channels;
  float* const scratch = queue.scratch(queue.threads() * space);
  parallel_for(queue, shape.images * bands, [&](int64_t index) {
    Band band{index / bands, static_cast<int>(index % bands) * band_rows, 0};
    band.bottom = std::min(shape.height, band.top + band_rows);
    float* dx = static_cast<float*>(args.dx) + (band.image * shape.height + band.top) * row_size;
    if (!args.accumulate) std::fill(dx, dx + (band.bottom - band.top) * row_size, 0.0f);
    for (int ky = 0; ky < shape.kernel; ++ky)
      band_gradient(args, band, ky, scratch + omp_get_thread_num() * space);
  });
}

void run(const ConvolutionBackwardWeight& args, Queue& queue) {
  require_f32(args.dtype, args.name);
  const ConvolutionShape& shape = args.shape;
  if (suits_winograd(shape)) return run_winograd(args, queue);
  constexpr int64_t kTasks = 8, kPartPositions = 4096, kWide = 192;
  const int64_t positions = positions_of(shape), patch = shape.patch(), outputs = shape.out_channels;
  // A kernel row of its own for each task where that is wide enough for a product.
  const int64_t row_width = int64_t{shape.kernel} * shape.channels;
  const int groups = row_width >= kWide ? shape.kernel : 1;
  const int group_rows = shape.kernel / groups;
  const int64_t group_width = group_rows * row_width;
  const int64_t part =
      even_piece(positions, std::max(ceil_div(kTasks, groups), ceil_div(positions, kPartPositions)));
  const int64_t parts = ceil_div(positions, part);
  const int64_t tile = std::min(part, tile_of(positions, group_width));
  const int64_t partial_size = shape.weights() + outputs;  // dw, then dbias

  float* const partials = queue.scratch(parts * partial_size + queue.threads() * tile * group_width);
  parallel_for(queue, parts * groups, [&](int64_t index) {
    const int group = static_cast<int>(index % groups);
    const int64_t first = index / groups * part, last = std::min(positions, first + part);
    float* const columns = partials + parts * partial_size + omp_get_thread_num() * tile * group_width;
    float* const dw = partials + index / groups * partial_size;
    for (int64_t begin = first; begin < last; begin += tile) {
      const int64_t end = std::min(last, begin + tile);
      const float* dy = static_cast<const float*>(args.dy) + begin * outputs;
      gather(shape, static_cast<const float*>(args.x), begin, end, group * group_rows,
             (group + 1) * group_rows, columns);
      gemm(outputs, group_width, end - begin, {dy, outputs, true}, {columns, group_width},
           begin == first ? 0.0f : 1.0f, dw + group * group_width, patch);
    }
    if (group == 0)
      sum_columns(static_cast<const float*>(args.dy) + first * outputs, outputs, last - first, outputs,
                  dw + shape.weights());
  });
  reduce_partials(queue, partials, parts, partial_size, shape.weights(), args.dw, args.accumulate);
  reduce_partials(queue, partials + shape.weights(), parts, partial_size, outputs, args.dbias,
                  args.accumulate);
}

}  // namespace scrawl::cpu
