// Convolution as gathers around matrix products: every output position's patch becomes a row of `columns`,
// and y = columns · wᵀ, dw = dyᵀ · columns, dcolumns = dy · w.  Positions go in chunks whose columns fill at
// most 32 MiB, so that scratch stays bounded and the product reads most of them from the second cache.
// A thread gathers 16 bytes of a row.  Where channels come in whole packs it copies one; else (the RGB image:
// 147 values a patch) it puts a pack together value by value, and rows are filled up with zeros to whole
// packs, so that the product still has aligned factors.  A 1×1 convolution needs no columns at all.
// The input's gradient is gathered too: a thread takes 16 bytes of one cell and adds up the patches that saw
// it, in order of kernel rows and columns: kernel = stride (spatial reduction) gives one, or none in a border
// that no patch reaches.  Where patches overlap, their columns stay in fp32 until they are added; but for
// 3 × 3 of stride 1 in bf16 the product adds them up itself: a row of columns then holds, for each output, dy
// of the nine patches that saw a cell, since w is a matrix [outputs · taps, channels] as it lies.
// Where direct.h, or on Hopper windows_wgmma.cuh or weight_gradients_wgmma.cuh, has a kernel
// that reads patches where they lie, it takes the work instead.
// Cost: besides the product, writing and reading the columns, kernel² / stride² times the input.
// Limits: 2³¹ positions; one image's columns and values, in packs, below 2³¹.
#include "kernels/convolution.h"

#include <cstddef>

#include "kernels/column_sum.h"
#include "kernels/cuda/convolution/direct.h"
#include "kernels/cuda/convolution/geometry.cuh"
#include "kernels/cuda/convolution/weight_gradients_wgmma.cuh"
#include "kernels/cuda/convolution/windows_wgmma.cuh"
#include "kernels/cuda/device/divisor.cuh"
#include "kernels/cuda/device/elementwise.cuh"
#include "kernels/cuda/device/launch.cuh"
#include "kernels/cuda/device/math.cuh"
#include "kernels/cuda/device/shared.cuh"
#include "kernels/cuda/device/storage.cuh"
#include "kernels/cuda/device/vector.cuh"
#include "kernels/matmul.h"

namespace scrawl::SCRAWL_GPU {

namespace {

constexpr int kThreads = 256;
constexpr int64_t kChunkBytes = 32 << 20;

/// Sizes of a convolution, and of the matrix of its patches, in values of type T.
template <typename T>
struct Patches {
  ConvolutionShape shape;
  int64_t positions, patch, stride;  // stride: from one patch to the next
  bool direct;                       // x is the matrix already

  explicit Patches(const ConvolutionShape& of)
      : shape(of), positions(of.images * of.out_height() * of.out_width()), patch(of.patch()) {
    direct = of.kernel == 1 && of.stride == 1 && of.padding == 0;
    stride = direct ? patch : ceil_div(patch, kPackWidth<T>) * kPackWidth<T>;
  }
  int64_t image_positions() const { return int64_t{shape.out_height()} * shape.out_width(); }
  /// How many positions go at once, a multiple of `unit` of them, with columns of type C.
  template <typename C = T>
  int64_t chunk(int64_t unit) const {
    if (direct) return positions;
    const int64_t most = kChunkBytes / (stride * static_cast<int64_t>(sizeof(C)));
    return std::min(positions, std::max<int64_t>(1, most / unit) * unit);
  }
};

/// columns = patches of positions [first, first + packs / row_packs), `packs` packs in all.  A patch is a
/// stretch of `stretch` = kernel · channels neighbouring values of x for each of its rows.  With `whole`, a
/// pack lies within the channels of one cell.
template <bool whole, typename T>
__global__ void __launch_bounds__(kThreads)
    gather(const T* x, ConvolutionGeometry g, Divisor row_packs, Divisor stretch, Divisor out_width,
           Divisor out_height, int64_t first, int64_t packs, T* columns) {
  constexpr int width = kPackWidth<T>;
  const int64_t index = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (index >= packs) return;
  const auto [local, pack] = row_packs.divide(static_cast<int>(index));
  const auto [out_line, ox] = out_width.divide(static_cast<int>(first + local));
  const auto [image, oy] = out_height.divide(out_line);
  const auto [ky, offset] = stretch.divide(pack * width);
  const int top = oy * g.stride - g.padding, left = (ox * g.stride - g.padding) * g.channels;
  const int row_values = g.width * g.channels, end = left + g.kernel * g.channels;
  int row = ky, column = left + offset;
  int64_t line = (int64_t{image} * g.height + top + row) * row_values;
  // Negative numbers are large ones without their sign.
  const auto row_inside = [&] {
    return row < g.kernel && static_cast<unsigned>(top + row) < static_cast<unsigned>(g.height);
  };
  const auto column_inside = [&] {
    return static_cast<unsigned>(column) < static_cast<unsigned>(row_values);
  };
  bool inside = row_inside();
  Pack<T, width> result{};
  if constexpr (whole) {
    if (inside && column_inside()) result = load_pack<width>(x + line + column);
  } else {
#pragma unroll
    for (int i = 0; i < width; ++i) {
      if (inside && column_inside()) result[i] = x[line + column];
      if (++column < end) continue;
      column = left;
      line += row_values;
      ++row;
      inside = row_inside();
    }
  }
  store_pack<width>(columns + index * width, result);
}

/// Rows of `from`, of `size` values each, `stride` apart and filled up with zeros.
template <typename T>
__global__ void __launch_bounds__(kThreads)
    pad_rows(const T* from, int64_t values, int size, Divisor stride, T* to) {
  const int64_t index = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (index >= values) return;
  const auto [row, column] = stride.divide(static_cast<int>(index));
  to[index] = column < size ? from[int64_t{row} * size + column] : T{};
}

/// dx (+)= what the patches of `columns` saw of each cell; both begin with the same image.
template <int width, typename C, typename T>
__global__ void __launch_bounds__(kThreads)
    scatter_back(const C* columns, ConvolutionGeometry g, Divisor cell_packs, Divisor in_width,
                 Divisor in_height, Divisor stride, int64_t patch_stride, int64_t packs, T* dx,
                 bool accumulate) {
  const int64_t index = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (index >= packs) return;
  const auto [cell, pack] = cell_packs.divide(static_cast<int>(index));
  const auto [line, ix] = in_width.divide(cell);
  const auto [image, iy] = in_height.divide(line);
  const auto [last_row, first_ky] = stride.divide(iy + g.padding);
  const auto [last_column, first_kx] = stride.divide(ix + g.padding);
  Floats<width> sum{};
  for (int ky = first_ky, oy = last_row; ky < g.kernel && oy >= 0; ky += g.stride, --oy) {
    if (oy >= g.out_height) continue;
    for (int kx = first_kx, ox = last_column; kx < g.kernel && ox >= 0; kx += g.stride, --ox) {
      if (ox >= g.out_width) continue;
      const int64_t position = (int64_t{image} * g.out_height + oy) * g.out_width + ox;
      const int tap = (ky * g.kernel + kx) * g.channels + pack * width;
      const auto values = load<width>(columns + position * patch_stride + tap);
#pragma unroll
      for (int i = 0; i < width; ++i) sum[i] += values[i];
    }
  }
  T* to = dx + index * width;
  if (accumulate) {
    const auto before = load<width>(to);
#pragma unroll
    for (int i = 0; i < width; ++i) sum[i] += before[i];
  }
  store<width>(to, sum);
}

constexpr int kTaps = 9, kSpreadWidth = kPackWidth<bf16>;

/// columns [cell, output, tap] = dy of the patch that sees the cell through the tap, for 3 × 3 of stride 1.
/// A thread takes eight outputs of a cell; its 72 values leave by way of shared memory, side by side.
__global__ void __launch_bounds__(kThreads)
    spread_outputs(const bf16* dy, ConvolutionGeometry g, int outputs, Divisor output_packs, Divisor in_width,
                   Divisor in_height, int64_t first, int64_t packs, bf16* columns) {
  auto& spread = shared<Pack<bf16, kSpreadWidth>[kThreads * kTaps], struct Spread>();
  const int64_t begin = int64_t{blockIdx.x} * kThreads, index = begin + threadIdx.x;
  if (index < packs) {
    const auto [cell, pack] = output_packs.divide(static_cast<int>(index));
    const auto [line, x] = in_width.divide(static_cast<int>(first + cell));
    const auto [image, y] = in_height.divide(line);
    Pack<bf16, kSpreadWidth> seen[kTaps];
#pragma unroll
    for (int tap = 0; tap < kTaps; ++tap) {
      const int oy = y + g.padding - tap / 3, ox = x + g.padding - tap % 3;
      seen[tap] = {};
      if (static_cast<unsigned>(oy) < static_cast<unsigned>(g.out_height) &&
          static_cast<unsigned>(ox) < static_cast<unsigned>(g.out_width))
        seen[tap] = load_pack<kSpreadWidth>(
            dy + ((int64_t{image} * g.out_height + oy) * g.out_width + ox) * outputs + pack * kSpreadWidth);
    }
#pragma unroll
    for (int part = 0; part < kTaps; ++part) {
      Pack<bf16, kSpreadWidth> values;
#pragma unroll
      for (int i = 0; i < kSpreadWidth; ++i) {
        const int at = part * kSpreadWidth + i;
        values[i] = seen[at % kTaps][at / kTaps];
      }
      store_pack<kSpreadWidth>(&spread[threadIdx.x * kTaps + part][0], values);
    }
  }
  __syncthreads();
  const int count = static_cast<int>(min(int64_t{kThreads}, packs - begin)) * kTaps;
  for (int i = threadIdx.x; i < count; i += kThreads)
    store_pack<kSpreadWidth>(columns + (begin * kTaps + i) * kSpreadWidth, spread[i]);
}

void require_fits(int64_t count, std::string_view kernel) {
  if (count >= int64_t{1} << 31)
    throw std::invalid_argument(std::string(kernel) + ": a launch has fewer than 2^31 packs, got " +
                                std::to_string(count));
}

/// The patches of positions [first, first + count): gathered into `columns`, or x itself.
template <typename T>
const T* gather_patches(const Patches<T>& patches, const void* x, int64_t first, int64_t count, T* columns,
                        std::string_view name, Queue& queue) {
  const auto* from = static_cast<const T*>(x);
  const ConvolutionShape& shape = patches.shape;
  if (patches.direct) return from + first * shape.channels;
  const int64_t row_packs = patches.stride / kPackWidth<T>, packs = count * row_packs;
  require_fits(packs, name);
  require_fits(patches.positions, name);
  const bool whole = packable(shape.channels, {x}) % kPackWidth<T> == 0;
  launch(queue, {.name = name, .grid = {ceil_div(packs, kThreads)}, .block = {kThreads}},
         whole ? gather<true, T> : gather<false, T>, from, ConvolutionGeometry(shape), Divisor(row_packs),
         Divisor(int64_t{shape.kernel} * shape.channels), Divisor(shape.out_width()),
         Divisor(shape.out_height()), first, packs, columns);
  return columns;
}

/// Floats that hold `values` of type T, in whole units of 256 bytes.
template <typename T>
int64_t floats_for(int64_t values) {
  return ceil_div(values * static_cast<int64_t>(sizeof(T)), 256) * 64;
}

/// What `count` positions from `first` on owe to their patches: c = dy · w.
MatMul product_with_weights(const ConvolutionBackwardInput& args, int64_t first, int64_t count, void* c,
                            DType c_dtype, int64_t ldc, bool accumulate) {
  const int64_t outputs = args.shape.out_channels, patch = args.shape.patch();
  return {.name = args.name,
          .dtype = args.dtype,
          .c_dtype = c_dtype,
          .m = count,
          .n = patch,
          .k = outputs,
          .a = static_cast<const std::byte*>(args.dy) + first * outputs * size_of(args.dtype),
          .lda = outputs,
          .b = args.w,
          .ldb = patch,
          .c = c,
          .ldc = ldc,
          .accumulate = accumulate};
}

/// With columns of type C.
template <typename C, typename T>
void backward_input(const ConvolutionBackwardInput& args, Queue& queue) {
  const ConvolutionShape& shape = args.shape;
  const Patches<T> patches(shape);
  const int64_t unit = patches.image_positions(), chunk = patches.template chunk<C>(unit);
  const Scratch scratch = queue.scratch(floats_for<C>(chunk * patches.stride));
  auto* columns = reinterpret_cast<C*>(scratch.data());
  for (int64_t first = 0; first < patches.positions; first += chunk) {
    const int64_t count = std::min(chunk, patches.positions - first);
    run(product_with_weights(args, first, count, columns, std::is_same_v<C, float> ? DType::f32 : DType::bf16,
                             patches.stride, false),
        queue);
    const int64_t image_values = int64_t{shape.height} * shape.width * shape.channels;
    T* dx = static_cast<T*>(args.dx) + first / unit * image_values;
    with_pack_width<T>(packable(shape.channels, {args.dx}), [&](auto width) {
      const int64_t packs = count / unit * image_values / width;
      require_fits(packs, args.name);
      launch(queue, {.name = args.name, .grid = {ceil_div(packs, kThreads)}, .block = {kThreads}},
             scatter_back<width, C, T>, columns, ConvolutionGeometry(shape), Divisor(shape.channels / width),
             Divisor(shape.width), Divisor(shape.height), Divisor(shape.stride), patches.stride, packs, dx,
             args.accumulate);
    });
  }
}

bool can_spread_outputs(const ConvolutionBackwardInput& args) {
  const ConvolutionShape& shape = args.shape;
  return args.dtype == DType::bf16 && shape.stride == 1 && shape.kernel == 3 &&
         packable(shape.out_channels, {args.dy}) % kSpreadWidth == 0;
}

void backward_input_by_spread_outputs(const ConvolutionBackwardInput& args, Queue& queue) {
  const ConvolutionShape& shape = args.shape;
  const int64_t cells = shape.images * shape.height * shape.width;
  const int64_t outputs = shape.out_channels, terms = outputs * kTaps, packs = outputs / kSpreadWidth;
  // Twice the usual: a batch of 12 goes at once, so that the product has enough rows for a large GPU.
  const int64_t chunk = std::min(cells, std::max<int64_t>(1, 2 * kChunkBytes / (terms * 2)));
  const Scratch scratch = queue.scratch(floats_for<bf16>(chunk * terms));
  auto* columns = reinterpret_cast<bf16*>(scratch.data());
  require_fits(cells, args.name);
  for (int64_t first = 0; first < cells; first += chunk) {
    const int64_t count = std::min(chunk, cells - first);
    require_fits(count * packs, args.name);
    const LaunchShape spreading{
        .name = args.name, .grid = {ceil_div(count * packs, kThreads)}, .block = {kThreads}};
    launch(queue, spreading, spread_outputs, static_cast<const bf16*>(args.dy), ConvolutionGeometry(shape),
           shape.out_channels, Divisor(packs), Divisor(shape.width), Divisor(shape.height), first,
           count * packs, columns);
    run(MatMul{.name = args.name,
               .dtype = DType::bf16,
               .c_dtype = DType::bf16,
               .m = count,
               .n = shape.channels,
               .k = terms,
               .a = columns,
               .lda = terms,
               .b = args.w,
               .ldb = shape.channels,
               .c = static_cast<bf16*>(args.dx) + first * shape.channels,
               .ldc = shape.channels,
               .accumulate = args.accumulate},
        queue);
  }
}

}  // namespace

void run(const ConvolutionForward& args, Queue& queue) {
  if (convolve_by_windows(args, queue) || convolve_image_directly(args, queue)) return;
  with_storage(args.dtype, args.name, [&]<typename T>(Storage<T>) {
    const Patches<T> patches(args.shape);
    if (patches.positions == 0) return;
    const int64_t outputs = args.shape.out_channels, chunk = patches.chunk(128);
    const bool pad = patches.stride != patches.patch;
    const int64_t weights = pad ? outputs * patches.stride : 0;
    const Scratch scratch = queue.scratch(floats_for<T>(weights) + floats_for<T>(chunk * patches.stride));
    auto* padded = reinterpret_cast<T*>(scratch.data());
    auto* columns = reinterpret_cast<T*>(scratch.data() + floats_for<T>(weights));
    require_fits(weights, args.name);
    launch(queue, {.name = args.name, .grid = {ceil_div(weights, kThreads)}, .block = {kThreads}},
           pad_rows<T>, static_cast<const T*>(args.w), weights, static_cast<int>(patches.patch),
           Divisor(patches.stride), padded);
    for (int64_t first = 0; first < patches.positions; first += chunk) {
      const int64_t count = std::min(chunk, patches.positions - first);
      const T* rows = gather_patches(patches, args.x, first, count, columns, args.name, queue);
      run(MatMul{.name = args.name,
                 .dtype = args.dtype,
                 .c_dtype = args.dtype,
                 .transpose_b = true,
                 .m = count,
                 .n = outputs,
                 .k = patches.stride,
                 .a = rows,
                 .lda = patches.stride,
                 .b = pad ? padded : args.w,
                 .ldb = patches.stride,
                 .c = static_cast<T*>(args.y) + first * outputs,
                 .ldc = outputs,
                 .bias = args.bias},
          queue);
    }
  });
}

void run(const ConvolutionBackwardInput& args, Queue& queue) {
  if (convolve_by_windows(args, queue) || convolve_input_directly(args, queue)) return;
  if (can_spread_outputs(args)) return backward_input_by_spread_outputs(args, queue);
  with_storage(args.dtype, args.name, [&]<typename T>(Storage<T>) {
    if (Patches<T>(args.shape).direct)
      run(product_with_weights(args, 0, args.shape.outputs() / args.shape.out_channels, args.dx, args.dtype,
                               args.shape.channels, args.accumulate),
          queue);
    else if (args.shape.kernel > args.shape.stride)
      backward_input<float, T>(args, queue);
    else
      backward_input<T, T>(args, queue);
  });
}

void run(const ConvolutionBackwardWeight& args, Queue& queue) {
  if (convolve_by_windows(args, queue) || convolve_weight_directly(args, queue) ||
      convolve_image_weight_directly(args, queue))
    return;
  const int64_t outputs = args.shape.out_channels;
  if (args.dbias)
    run(ColumnSum{.dtype = args.dtype,
                  .x = args.dy,
                  .sum = args.dbias,
                  .rows = args.shape.outputs() / outputs,
                  .columns = args.shape.out_channels,
                  .accumulate = args.accumulate},
        queue);
  with_storage(args.dtype, args.name, [&]<typename T>(Storage<T>) {
    const Patches<T> patches(args.shape);
    const int64_t chunk = std::max<int64_t>(1, patches.chunk(128));
    const Scratch scratch = queue.scratch(patches.direct ? 0 : floats_for<T>(chunk * patches.stride));
    auto* columns = reinterpret_cast<T*>(scratch.data());
    int64_t first = 0;
    do {  // without positions too, since dw is to be set
      const int64_t count = std::min(chunk, patches.positions - first);
      const T* rows = gather_patches(patches, args.x, first, count, columns, args.name, queue);
      run(MatMul{.name = args.name,
                 .dtype = args.dtype,
                 .transpose_a = true,
                 .m = outputs,
                 .n = patches.patch,
                 .k = count,
                 .a = static_cast<const T*>(args.dy) + first * outputs,
                 .lda = outputs,
                 .b = rows,
                 .ldb = patches.stride,
                 .c = args.dw,
                 .ldc = patches.patch,
                 .accumulate = args.accumulate || first > 0},
          queue);
      first += chunk;
    } while (first < patches.positions);
  });
}

}  // namespace scrawl::SCRAWL_GPU
