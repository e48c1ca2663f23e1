// Convolutions of bf16 and their inputs' gradients, without columns, on the tensor cores of compute
// capability 9.0.  Both are sums over taps of [positions, depth] · [depth, columns]:
//   y:  positions are outputs, depth is x's channels, and w of a tap lies as [columns, depth];
//   dx: positions are the cells of x whose row and column have the same remainders by the stride (a phase),
//       which are seen through the same taps; depth is dy's channels, w of a tap lies as [depth, columns].
// A block of two warpgroups computes two windows of 64 positions (windows.cuh) and 128 columns.
// 64 terms of depth at one tap are a stage, brought by the unit for copies of tiles, which also makes the
// zeros of the border.  Two blocks share a multiprocessor.  Where there are few positions with many terms,
// as in spatial reductions, the terms are cut into parts, and a second launch adds their sums in order.
// Cost: the map is read once for each tap and tile of columns, w once for each two windows, mostly from the
// second-level cache: at 64 operations a byte that is the limit, so that large products are left to columns
// and a library's larger tiles.
// Limits: see fits_windows(); 1 × 1 is a product as it lies.  Where channels are no multiple of 64, values
// beside them meet zeros of w, and must be finite.
#include "kernels/cuda/convolution/windows_wgmma.cuh"

#include "kernels/cuda/convolution/window_task.cuh"
#include "kernels/cuda/device/fragments.cuh"
#include "kernels/cuda/device/math.cuh"
#include "kernels/cuda/device/shared.cuh"
#include "kernels/cuda/device/stages.cuh"
#include "kernels/cuda/device/wgmma.cuh"

namespace scrawl::SCRAWL_GPU {

namespace {

constexpr int kThreads = 2 * kWarpgroupThreads;

/// Starts a stage's products for one window, and closes them into a group.  Without branches between them:
/// the compiler would wait for each alone.
template <Direction direction, bool wide>
__device__ __forceinline__ void multiply(FragmentD (&results)[2][8], const bf16* map, const bf16* w,
                                         bool accumulate) {
  constexpr bool kForward = direction == Direction::forward;
  constexpr Major kOfW = kForward ? Major::k : Major::mn;
  const TileOperand positions = tile_operand(map);
  const TileOperand weights = kForward ? tile_operand(w) : tile_operand(w, 64 * kTileColumns);
  fence_products(results[0], results[1]);
#pragma unroll
  for (int k = 0; k < kDepth; k += 16) {
    const TileOperand of_w = kForward ? weights.from(0, k) : weights.from(k, 0);
    if constexpr (wide)
      start_product<Major::k, kOfW>(results, positions.from(0, k), of_w, accumulate || k > 0);
    else
      start_product<Major::k, kOfW>(results[0], positions.from(0, k), of_w, accumulate || k > 0);
  }
  commit_products();
}

/// Rounds eight values to the result, after all that is to be added to them.
__device__ __forceinline__ void finish(const WindowProduct& p, Floats<8>& values, int64_t at, int column) {
  bf16* const result = p.result + at;
  if (p.bias) add_stored(values, p.bias + column);
  if (p.accumulate) add_stored(values, result);
  store<8>(result, values);
}

/// Stores a warp's 16 positions from `first` on of a window.
template <Direction direction>
__device__ __forceinline__ void store_results(const FragmentD (&results)[2][8], const Task<direction>& task,
                                              int window, int first) {
  const WindowProduct& p = task.product;
  const int64_t upper = task.result_of(window, first + lane_index() / 4);
  const int64_t lower = task.result_of(window, first + lane_index() / 4 + 8);
  float* const partial = p.partials + task.part * p.values();
  for_packs<16>(
      results[0], [](int) { return 1.0f; },
      [&](int row, int from, Floats<8>& values) {
        const int column = task.column + from;
        const int64_t at = (row < 8 ? upper : lower) + column;
        if (at < column || column >= p.columns) return;
        if (p.parts > 1)
          store<8>(partial + at, values);
        else
          finish(p, values, at, column);
      });
}

template <Direction direction>
__global__ void __launch_bounds__(kThreads, 2)
    convolve_windows(const __grid_constant__ WindowProduct product) {
  auto& memory = *dynamic_shared<ConvolutionShared>();
  const Task<direction> task(product, static_cast<int>(blockIdx.x));
  Copies<direction> copies(task);
  const auto start = [&](int step) { copies.start_next(memory, step % kStages); };
  begin_stages<kStages - 1>(memory.arrived, task.steps, start);
  __syncthreads();
  const int warpgroup = warp_index() / 4;
  const bool has_window = warpgroup == 0 || task.tall;
  FragmentD results[2][8];
  walk_stages(memory.arrived, task.steps, start, [&](int step) {
    if (!has_window) return;
    const auto& stage = memory.stages[step % kStages];
    const bf16 *map = stage.map[warpgroup], *w = stage.w[0];
    task.wide ? multiply<direction, true>(results, map, w, step > 0)
              : multiply<direction, false>(results, map, w, step > 0);
  });
  wait_products<0>(results[0], results[1]);
  if (has_window) store_results(results, task, task.window + warpgroup, warp_index() % 4 * 16);
}

/// The result from the sums of all parts; a thread takes eight neighbouring values.
__global__ void __launch_bounds__(kThreads) add_parts(const __grid_constant__ WindowProduct product) {
  const int64_t at = (int64_t{blockIdx.x} * kThreads + threadIdx.x) * 8, stride = product.values();
  if (at >= stride) return;
  Floats<8> values{};
#pragma unroll 4
  for (int part = 0; part < product.parts; ++part) add_stored(values, product.partials + part * stride + at);
  finish(product, values, at, static_cast<int>(at % product.columns));
}

/// Into how many parts terms are cut, of which the busiest block has so many steps: where that saves more
/// than the second launch takes, some ten steps' time.
int parts_of(int64_t blocks, int steps) {
  constexpr int64_t kMultiprocessors = 132, kFewestSteps = 4, kWorthIt = 10;
  const int64_t parts = std::max<int64_t>(1, std::min(steps / kFewestSteps, kMultiprocessors / blocks));
  return steps - steps / parts > kWorthIt ? static_cast<int>(parts) : 1;
}

template <Direction direction>
void launch_windows(std::string_view name, WindowProduct product, const ConvolutionShape& shape, int phases,
                    Queue& queue) {
  product.kernel = shape.kernel;
  product.stride = shape.stride;
  product.padding = shape.padding;
  product.window_count = static_cast<int>(shape.images) * product.windows.per_map();
  product.tiles_across = static_cast<int>(ceil_div(product.columns, kColumns));
  const int64_t blocks = ceil_div(product.window_count, 2) * product.tiles_across * phases;
  const auto taps =
      static_cast<int>(ceil_div(shape.kernel, direction == Direction::forward ? 1 : shape.stride));
  product.parts = parts_of(blocks, taps * taps * static_cast<int>(ceil_div(product.depth, kDepth)));
  const Scratch partials = queue.scratch(product.parts > 1 ? product.parts * product.values() : 0);
  product.partials = partials.data();
  launch(queue,
         {.name = name,
          .grid = {blocks * product.parts},
          .block = {kThreads},
          .shared_bytes = sizeof(ConvolutionShared)},
         convolve_windows<direction>, product);
  if (product.parts > 1)
    launch(queue, {.name = name, .grid = {ceil_div(product.values(), 8 * kThreads)}, .block = {kThreads}},
           add_parts, product);
}

/// w [outputs, taps, channels] for copies of 64 channels at one tap.
TensorMap map_of_weights(const void* w, const ConvolutionShape& shape, int outputs_at_once) {
  const int64_t taps = int64_t{shape.kernel} * shape.kernel, channels = shape.channels;
  const int64_t all = shape.weights();
  return tensor_map({.values = static_cast<const bf16*>(w),
                     .sizes = {channels, taps, shape.out_channels, 1, 1},
                     .strides = {channels, taps * channels, all, all},
                     .tile = {1, outputs_at_once, 1, 1}});
}

}  // namespace

bool convolve_by_windows(const ConvolutionForward& args, Queue& queue) {
  const ConvolutionShape& shape = args.shape;
  if (queue.compute_capability() != 90 || shape.kernel == 1 ||
      !fits_windows(args.dtype, shape, {args.x, args.w, args.bias, args.y}))
    return false;
  const Windows windows = Windows::over(shape.out_width(), shape.out_height());
  launch_windows<Direction::forward>(
      args.name,
      {.map = tensor_map(windows_of(args.x, shape.images, shape.height, shape.width, shape.channels,
                                    shape.stride, windows)),
       .w = map_of_weights(args.w, shape, kColumns),
       .result = static_cast<bf16*>(args.y),
       .bias = static_cast<const bf16*>(args.bias),
       .height = shape.out_height(),
       .width = shape.out_width(),
       .depth = shape.channels,
       .columns = shape.out_channels,
       .windows = windows},
      shape, 1, queue);
  return true;
}

bool convolve_by_windows(const ConvolutionBackwardInput& args, Queue& queue) {
  const ConvolutionShape& shape = args.shape;
  if (queue.compute_capability() != 90 || shape.kernel == 1 ||
      !fits_windows(args.dtype, shape, {args.dy, args.w, args.dx}))
    return false;
  const Windows windows = Windows::over(shape.width / shape.stride, shape.height / shape.stride);
  launch_windows<Direction::to_input>(
      args.name,
      {.map = tensor_map(windows_of(args.dy, shape.images, shape.out_height(), shape.out_width(),
                                    shape.out_channels, 1, windows)),
       .w = map_of_weights(args.w, shape, kDepth),
       .result = static_cast<bf16*>(args.dx),
       .bias = nullptr,
       .height = shape.height,
       .width = shape.width,
       .depth = shape.out_channels,
       .columns = shape.channels,
       .windows = windows,
       .accumulate = args.accumulate},
      shape, shape.stride * shape.stride, queue);
  return true;
}

}  // namespace scrawl::SCRAWL_GPU
