// Cross-entropy over labelled pixels of upsampled logits that are never written.  With scribbles some 3 % of
// the pixels are labelled, in strokes: a block reads the labels of a patch of pixels, lists the labelled
// ones, in order, and ends if there are none.  Patches are about square, so that a stroke in any direction
// gives few pixels to each of many blocks.  Eight lanes take a pixel of the list at a time, blend the logits
// of the four cells around it and hold all classes in registers.
// Count: sixteen labels a thread; the last block adds what the blocks have found.
// Forward: a patch is 32×32 pixels; a partial sum a block, which the last block adds in order.
// Backward: a block owns a tile of cells, its patch holds all pixels that read them.  softmax − one-hot of
// some listed pixels at a time goes to shared memory; then eight lanes per cell add up those that read it, by
// weights from the distance of pixel and cell.  No other block adds to the cell.
// Cost: reading the labels (backward: twice at a fourfold resize, from cache), and a softmax for each
// labelled pixel and block that lists it.
// Limits: 256 classes, 2³¹ pixels and cells.
#include "kernels/partial_cross_entropy.h"

#include "kernels/cuda/device/class_row.cuh"
#include "kernels/cuda/device/divisor.cuh"
#include "kernels/cuda/device/elementwise.cuh"
#include "kernels/cuda/device/last_block.cuh"
#include "kernels/cuda/device/launch.cuh"
#include "kernels/cuda/device/storage.cuh"

namespace scrawl::SCRAWL_GPU {

namespace {

constexpr int kThreads = 256, kWarps = kThreads / kWarpSize;
constexpr int kVotes = 4;                   // labels that a thread reads at a time
constexpr int kWindow = kVotes * kThreads;  // pixels that a block lists at a time
constexpr int kPatchSide = 32;              // forward
constexpr int kTileWidth = 8;               // cells, backward

/// One axis of the resize.
struct Axis {
  float scale, inverse;
  int in, out;

  explicit Axis(const ResizeAxis& axis)
      : scale(axis.scale()), inverse(scale > 0.0f ? 1.0f / scale : 0.0f), in(axis.in), out(axis.out) {}

  __device__ Interpolation at(int pixel) const {
    const float source = scale * static_cast<float>(pixel);
    const int low = min(static_cast<int>(source), in - 1);
    return {low, min(low + 1, in - 1), source - static_cast<float>(low)};
  }
  /// No pixel before this one reads the cell or later ones: coordinates are off by less than 5e-7 of them.
  __device__ int first_reader(int cell) const {
    const float first = static_cast<float>(cell - 1) * inverse;
    return static_cast<int>(max(first - 5e-7f * first - 1e-3f, 0.0f));
  }
  /// So many pixels from first_reader(cell) on hold all that read the `cells` cells from there on.
  int readers(int cells) const {
    const float most = static_cast<float>(cells + 1) * inverse + 4.0f;
    return scale > 0.0f && most < static_cast<float>(out) ? static_cast<int>(most) : out;
  }
};

template <typename T>
struct Maps {
  const T* logits;
  const uint8_t* label;
  Axis rows, columns;
  int classes;

  Maps(const PartialCrossEntropyShape& shape, const void* from, const uint8_t* labels)
      : logits(static_cast<const T*>(from)),
        label(labels),
        rows(shape.rows()),
        columns(shape.columns()),
        classes(shape.classes) {}

  __device__ int64_t cell(int image, int row, int column) const {
    return ((int64_t{image} * rows.in + row) * columns.in + column) * classes;
  }
  /// The logits of one pixel.
  template <typename Row>
  __device__ Row sample(int image, const Interpolation& y, const Interpolation& x) const {
    const T *a = logits + cell(image, y.low, x.low), *b = logits + cell(image, y.low, x.high);
    const T *c = logits + cell(image, y.high, x.low), *d = logits + cell(image, y.high, x.high);
    float corners[Row::slots][4];  // loads of all classes are under way together
#pragma unroll
    for (int i = 0; i < Row::slots; ++i) {
      const int k = min(Row::class_of(i), classes - 1);
      corners[i][0] = as_float(a[k]);
      corners[i][1] = as_float(b[k]);
      corners[i][2] = as_float(c[k]);
      corners[i][3] = as_float(d[k]);
    }
    Row row;
#pragma unroll
    for (int i = 0; i < Row::slots; ++i) {
      const auto [left, right, low_left, low_right] = corners[i];
      const float top = left + x.fraction * (right - left);
      const float bottom = low_left + x.fraction * (low_right - low_left);
      row.values[i] = Row::class_of(i) < classes ? top + y.fraction * (bottom - top) : Row::kNone;
    }
    return row;
  }
};

/// A grid of blocks over tiles of the images of a batch.
struct Tiles {
  int height, width;
  Divisor down, across;  // how many
  int64_t count;

  Tiles(int64_t images, int rows, int columns, int tile_height, int tile_width)
      : height(tile_height),
        width(tile_width),
        down(ceil_div(rows, tile_height)),
        across(ceil_div(columns, tile_width)),
        count(images * ceil_div(rows, tile_height) * ceil_div(columns, tile_width)) {}

  /// Where this block's tile begins.
  struct Corner {
    int image, row, column;
  };
  __device__ Corner mine() const {
    const auto [line, column] = across.divide(static_cast<int>(blockIdx.x));
    const auto [image, row] = down.divide(line);
    return {image, row * height, column * width};
  }
};

/// The size of all patches of a launch.
struct PatchSize {
  int pixels;
  Divisor width;
};

/// A patch of pixels in row-major order; it may reach beyond the image's end.
struct Patch {
  int image, row, column;  // the first pixel
  PatchSize size;

  struct Place {
    int row, column;
  };
  __device__ Place place(int index) const {
    const auto [down, across] = size.width.divide(index);
    return {row + down, column + across};
  }
  template <typename T>
  __device__ int label(const Maps<T>& maps, int index) const {
    const auto [y, x] = place(index);
    if (index >= size.pixels || y >= maps.rows.out || x >= maps.columns.out) return kUnlabelled;
    return maps.label[(int64_t{image} * maps.rows.out + y) * maps.columns.out + x];
  }
};

/// A labelled pixel: its index in the patch.
struct Labelled {
  int index, label;
};

/// Lists the labelled ones of a window of the patch, in order; returns their number.
template <typename T>
__device__ int list_labelled(const Maps<T>& maps, const Patch& patch, int start, Labelled* list) {
  auto& counts = shared<int[kWarps], struct Counts>();
  const auto index = [&](int i) { return start + (warp_index() * kVotes + i) * kWarpSize + lane_index(); };
  int labels[kVotes];
#pragma unroll
  for (int i = 0; i < kVotes; ++i) labels[i] = patch.label(maps, index(i));
  unsigned votes[kVotes];
  int count = 0;
#pragma unroll
  for (int i = 0; i < kVotes; ++i) {
    votes[i] = __ballot_sync(kFullWarp, labels[i] != kUnlabelled);
    count += __popc(votes[i]);
  }
  if (lane_index() == 0) counts[warp_index()] = count;
  __syncthreads();
  int place = 0, total = 0;
#pragma unroll
  for (int warp = 0; warp < kWarps; ++warp) {
    if (warp < warp_index()) place += counts[warp];
    total += counts[warp];
  }
  const unsigned below = (1u << lane_index()) - 1;
#pragma unroll
  for (int i = 0; i < kVotes; ++i) {
    if (labels[i] != kUnlabelled) list[place + __popc(votes[i] & below)] = {index(i), labels[i]};
    place += __popc(votes[i]);
  }
  __syncthreads();
  return total;
}

/// One value of each block.
template <typename Value>
struct Partials {
  Value* values;
  unsigned* counter;  // of blocks that are done

  /// Adds this block's value, which its first thread has; true in the last block, whose threads then get the
  /// sum of all.
  __device__ bool add(Value& value) const {
    if (threadIdx.x == 0) values[blockIdx.x] = value;
    if (!is_last_block(counter, gridDim.x)) return false;
    value = Value{};
#pragma unroll 4
    for (unsigned i = threadIdx.x; i < gridDim.x; i += kThreads) value += values[i];
    value = block_sum(value);
    return true;
  }
};

// --- count ------------------------------------------------------------------------------------------------

/// A thread has a pack or, beyond the last whole one, a single label.
__global__ void __launch_bounds__(kThreads)
    count_labelled(const uint8_t* label, int64_t packs, int64_t pixels, Partials<int> partials,
                   int32_t* labelled) {
  constexpr int kLabels = 16;
  const int64_t thread = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  const int64_t single = packs * kLabels + (thread - packs);
  int count = 0;
  if (thread < packs) {
    const auto pack = load_pack<kLabels>(label + thread * kLabels);
#pragma unroll
    for (int i = 0; i < kLabels; ++i) count += pack[i] != kUnlabelled;
  } else if (single < pixels) {
    count = label[single] != kUnlabelled;
  }
  count = block_sum(count);
  if (partials.add(count) && threadIdx.x == 0) labelled[0] = count;
}

// --- forward ----------------------------------------------------------------------------------------------

template <typename T, typename Row>
__global__ void __launch_bounds__(kThreads)
    add_losses(Maps<T> maps, Tiles tiles, PatchSize size, Partials<float> partials, const int32_t* labelled,
               float* loss) {
  auto& list = shared<Labelled[kWindow], struct List>();
  const auto corner = tiles.mine();
  const Patch patch{corner.image, corner.row, corner.column, size};
  const int count = list_labelled(maps, patch, 0, list);
  float sum = 0.0f;
  for (int i = threadIdx.x / Row::lanes; i < count; i += kThreads / Row::lanes) {
    const auto [row, column] = patch.place(list[i].index);
    const Row logits = maps.template sample<Row>(patch.image, maps.rows.at(row), maps.columns.at(column));
    const float log_sum = logits.log_sum_exp(), truth = logits.of_class(list[i].label);
    if (Row::lane() == 0) sum += log_sum - truth;
  }
  if (count > 0) sum = block_sum(sum);
  if (partials.add(sum) && threadIdx.x == 0)
    loss[0] = labelled[0] > 0 ? sum / static_cast<float>(labelled[0]) : 0.0f;
}

// --- backward ---------------------------------------------------------------------------------------------

/// Where a pixel lies among cells; beyond the last cell it reads that one only.
struct Source {
  float row, column;
};
__device__ float source_of(const Axis& axis, int pixel) {
  return min(axis.scale * static_cast<float>(pixel), static_cast<float>(axis.in - 1));
}
__device__ float weight_of(float source, int cell) {
  return max(1.0f - fabsf(source - static_cast<float>(cell)), 0.0f);
}

/// softmax − one-hot of some pixels, in shared memory.
template <typename Row>
struct Errors {
  static constexpr int kGroups = kThreads / Row::lanes, kPixels = 2 * kGroups;
  // Rows are padded, so that neighbouring groups write to different banks.
  static constexpr int kStride = Row::lanes * (Row::slots + (Row::lanes < kWarpSize ? 1 : 0));
  Source sources[kPixels];
  float values[kPixels][kStride];
};

template <typename T, typename Row>
__device__ void compute_errors(const Maps<T>& maps, const Patch& patch, const Labelled* list, int count,
                               Errors<Row>& errors) {
  for (int i = threadIdx.x / Row::lanes; i < count; i += kThreads / Row::lanes) {
    const auto [row, column] = patch.place(list[i].index);
    Row error = maps.template sample<Row>(patch.image, maps.rows.at(row), maps.columns.at(column));
    error.softmax();
#pragma unroll
    for (int j = 0; j < Row::slots; ++j) {
      const int k = Row::class_of(j);
      errors.values[i][k] = error.values[j] - (k == list[i].label ? 1.0f : 0.0f);
    }
    if (Row::lane() == 0) errors.sources[i] = {source_of(maps.rows, row), source_of(maps.columns, column)};
  }
}

/// Adds what pixels give to a cell.  A warp's cells are neighbours in a row: its lanes look for pixels that
/// read one of them, 32 at a time.
template <typename Row>
__device__ void add_errors(const Errors<Row>& errors, int count, int row, int column,
                           float (&sum)[Row::slots]) {
  const int first = column - lane_index() / Row::lanes, last = first + kWarpSize / Row::lanes - 1;
  for (int base = 0; base < count; base += kWarpSize) {
    const int mine = base + lane_index();
    bool touches = false;
    if (mine < count) {
      const auto [y, x] = errors.sources[mine];
      touches =
          weight_of(y, row) > 0.0f && x > static_cast<float>(first - 1) && x < static_cast<float>(last + 1);
    }
    unsigned votes = __ballot_sync(kFullWarp, touches);
    for (; votes != 0; votes &= votes - 1) {
      const int pixel = base + __ffs(static_cast<int>(votes)) - 1;
      const auto [y, x] = errors.sources[pixel];
      const float weight = weight_of(y, row) * weight_of(x, column);
#pragma unroll
      for (int i = 0; i < Row::slots; ++i) sum[i] += weight * errors.values[pixel][Row::class_of(i)];
    }
  }
}

template <typename T, typename Row>
__global__ void __launch_bounds__(kThreads)
    gather_gradient(Maps<T> maps, Tiles tiles, PatchSize size, const int32_t* labelled, float dloss,
                    T* dlogits, bool accumulate) {
  auto& list = shared<Labelled[kWindow], struct List>();
  auto& errors = shared<Errors<Row>, struct PixelErrors>();
  const auto corner = tiles.mine();
  const int group = threadIdx.x / Row::lanes;
  const int row = corner.row + group / kTileWidth, column = corner.column + group % kTileWidth;
  const Patch patch{corner.image, maps.rows.first_reader(corner.row),
                    maps.columns.first_reader(corner.column), size};
  const int all_labelled = labelled[0];

  float sum[Row::slots] = {};
  bool found = false;
  for (int start = 0; start < size.pixels; start += kWindow) {
    const int count = list_labelled(maps, patch, start, list);
    found = found || count > 0;
    for (int first = 0; first < count; first += Errors<Row>::kPixels) {
      const int pixels = min(count - first, Errors<Row>::kPixels);
      compute_errors(maps, patch, list + first, pixels, errors);
      __syncthreads();
      add_errors(errors, pixels, row, column, sum);
      __syncthreads();
    }
  }
  if (row >= maps.rows.in || column >= maps.columns.in || (accumulate && !found)) return;
  const float scale = found ? dloss / static_cast<float>(all_labelled) : 0.0f;
  T* to = dlogits + maps.cell(patch.image, row, column);
#pragma unroll
  for (int i = 0; i < Row::slots; ++i) {
    const int k = Row::class_of(i);
    if (k >= maps.classes) break;
    to[k] = as_storage<T>((accumulate ? as_float(to[k]) : 0.0f) + scale * sum[i]);
  }
}

void check_size(const PartialCrossEntropyShape& shape, std::string_view kernel) {
  constexpr int64_t kMost = (int64_t{1} << 31) - kWindow;
  if (shape.pixels() >= kMost || shape.images * shape.in_height * shape.in_width >= kMost)
    throw std::invalid_argument(std::string(kernel) + ": takes fewer than 2^31 pixels, got " +
                                std::to_string(shape.pixels()));
}

}  // namespace

void run(const LabelCount& args, Queue& queue) {
  const int64_t packs = packable(16, {args.label}) == 16 ? args.pixels / 16 : 0;
  const int64_t blocks = std::max<int64_t>(1, ceil_div(packs + args.pixels - 16 * packs, kThreads));
  const Scratch scratch = queue.scratch(blocks);
  const Partials<int> partials{reinterpret_cast<int*>(scratch.data()), queue.counters(1)};
  const LaunchShape shape{.name = args.name, .grid = {blocks}, .block = {kThreads}};
  launch(queue, shape, count_labelled, args.label, packs, args.pixels, partials, args.labelled);
}

void run(const PartialCrossEntropyForward& args, Queue& queue) {
  const PartialCrossEntropyShape& shape = args.shape;
  check_size(shape, args.name);
  const Tiles tiles(shape.images, shape.out_height, shape.out_width, kPatchSide, kPatchSide);
  static_assert(kPatchSide * kPatchSide == kWindow);
  const int64_t blocks = std::max<int64_t>(1, tiles.count);  // no pixel, no loss: a block has to say so
  const PatchSize size{tiles.count > 0 ? kWindow : 0, Divisor(kPatchSide)};
  const Scratch scratch = queue.scratch(blocks);
  const Partials<float> partials{scratch.data(), queue.counters(1)};
  with_storage(args.dtype, args.name, [&]<typename T>(Storage<T>) {
    with_class_row(shape.classes, args.name, [&]<typename Row>(Row) {
      launch(queue, {.name = args.name, .grid = {blocks}, .block = {kThreads}}, add_losses<T, Row>,
             Maps<T>(shape, args.logits, args.label), tiles, size, partials, args.labelled, args.loss);
    });
  });
}

void run(const PartialCrossEntropyBackward& args, Queue& queue) {
  const PartialCrossEntropyShape& shape = args.shape;
  check_size(shape, args.name);
  with_storage(args.dtype, args.name, [&]<typename T>(Storage<T>) {
    with_class_row(shape.classes, args.name, [&]<typename Row>(Row) {
      const Maps<T> maps(shape, args.logits, args.label);
      const Tiles tiles(shape.images, shape.in_height, shape.in_width, Errors<Row>::kGroups / kTileWidth,
                        kTileWidth);
      const int height = maps.rows.readers(tiles.height), width = maps.columns.readers(tiles.width);
      launch(queue, {.name = args.name, .grid = {tiles.count}, .block = {kThreads}}, gather_gradient<T, Row>,
             maps, tiles, PatchSize{height * width, Divisor(width)}, args.labelled, args.dloss,
             static_cast<T*>(args.dlogits), args.accumulate);
    });
  });
}

}  // namespace scrawl::SCRAWL_GPU
