// Crops of augmented images in one launch.  A block makes a tile of one crop: its threads first compute the
// scaled (and rotated) image there, and two pixels around it where it will be blurred, into shared memory;
// then a thread takes one colour of a column and slides down its rows, blurs sideways and downwards in
// registers, and writes normalised values, contiguous along the row.  Labels are read on the way.
// A rotated pixel mixes four scaled ones, each mixed of four of the sample: 16 loads of a word, nearly all
// from the first cache, and as many coordinates in double, for OpenCV's bits.  Bound by these instructions,
// some 250 a rotated pixel, rather than by bytes.
#include "kernels/augmentation.h"

#include "kernels/cuda/device/launch.cuh"
#include "kernels/cuda/device/shared.cuh"
#include "kernels/cuda/device/storage.cuh"
#include "kernels/cuda/device/thread.cuh"
#include "kernels/cuda/device/vector.cuh"

namespace scrawl::SCRAWL_GPU {

namespace {

constexpr int kTileWidth = 32, kTileHeight = 16;
constexpr int kSpanWidth = kTileWidth + 2 * kBlurReach, kSpanHeight = kTileHeight + 2 * kBlurReach;
constexpr int kLanes = 3 * kTileWidth, kRowsOfThread = 8;
constexpr int kThreads = kLanes * kTileHeight / kRowsOfThread;

using Colours = Floats<3>;
using Tile = float[kSpanHeight][3 * kSpanWidth];  // with the pixels around it, in the crop's own orientation

__device__ Colours mix(const Colours& low, const Colours& high, float share) {
  return {scrawl::mix(low[0], high[0], share), scrawl::mix(low[1], high[1], share),
          scrawl::mix(low[2], high[2], share)};
}

__device__ Colours colours_of(const LabelledPixel* pixel) {
  const auto bytes = load_pack<4>(pixel->rgb);
  return {static_cast<float>(bytes[0]), static_cast<float>(bytes[1]), static_cast<float>(bytes[2])};
}

/// The scaled image between two rows and two columns of the sample.
__device__ Colours scaled(const CropPlan& plan, const CropPlan::Tap& y, const CropPlan::Tap& x) {
  const auto in_row = [&](int row) {
    const LabelledPixel* pixels = plan.pixels + int64_t{row} * plan.width;
    return mix(colours_of(pixels + x.low), colours_of(pixels + x.high), x.share);
  };
  return mix(in_row(y.low), in_row(y.high), y.share);
}

__device__ Colours rotated(const CropPlan& plan, int x, int y) {
  const auto at = plan.before_rotation(x, y, 5);
  const int left = at.x >> 5, top = at.y >> 5;
  const CropPlan::Tap rows[] = {plan.bilinear(top, plan.height), plan.bilinear(top + 1, plan.height)};
  const CropPlan::Tap columns[] = {plan.bilinear(left, plan.width), plan.bilinear(left + 1, plan.width)};
  const auto neighbour = [&](int row, int column) {
    const Colours inside = scaled(plan, rows[row], columns[column]);
    return plan.contains(left + column, top + row) ? inside
                                                   : Colours{pixel_mean(0), pixel_mean(1), pixel_mean(2)};
  };
  const float right_share = static_cast<float>(at.x & 31) / 32.0f;
  const Colours upper = mix(neighbour(0, 0), neighbour(0, 1), right_share);
  const Colours lower = mix(neighbour(1, 0), neighbour(1, 1), right_share);
  return mix(upper, lower, static_cast<float>(at.y & 31) / 32.0f);
}

/// Where a cell of the tile lies in the scaled and rotated image, before it was flipped.
struct Place {
  int x, y;
  bool reachable;  // inside of the image, or a reflection of it that a blur at its edge reads
};
__device__ Place place_of(const CropPlan& plan, int x, int y) {
  const int width = plan.scaled_width, height = plan.scaled_height;
  const bool reachable =
      x >= -kBlurReach && x < width + kBlurReach && y >= -kBlurReach && y < height + kBlurReach;
  if (!reachable) return {0, 0, false};
  return {reflected(plan.flipped ? width - 1 - x : x, width), reflected(y, height), true};
}

/// Fills the tile whose first pixel is (left, top) of the crop, and writes the labels of its pixels.
__device__ void fill(const AugmentCrops& args, const CropPlan& plan, int64_t image, int left, int top,
                     Tile& tile) {
  for (int cell = threadIdx.x; cell < kSpanHeight * kSpanWidth; cell += kThreads) {
    const int row = cell / kSpanWidth, column = cell % kSpanWidth;
    const int tile_x = column - kBlurReach, tile_y = row - kBlurReach;
    const bool around = tile_x < 0 || tile_x >= kTileWidth || tile_y < 0 || tile_y >= kTileHeight;
    if (around && !plan.blurred) continue;
    const int x = left + tile_x, y = top + tile_y;  // in the crop
    const Place place = place_of(plan, plan.left + x, plan.top + y);
    Colours colours{};
    if (place.reachable && plan.rotated)
      colours = rotated(plan, place.x, place.y);
    else if (place.reachable)
      colours = scaled(plan, plan.bilinear(place.y, plan.height), plan.bilinear(place.x, plan.width));
#pragma unroll
    for (int i = 0; i < 3; ++i) tile[row][3 * column + i] = colours[i];
    if (around || x >= args.width || y >= args.height) continue;
    const bool covered = plan.contains(plan.left + x, plan.top + y);
    args.label[(image * args.height + y) * args.width + x] =
        covered ? plan.label_at(place.x, place.y) : kUnlabelled;
  }
}

/// Blurs one colour of one column downwards.
class ColumnBlur {
 public:
  /// Starts at the row of the tile with two above the first result.
  __device__ ColumnBlur(const Tile& tile, int first_row, int lane)
      : tile_(tile), row_(first_row), lane_(lane) {
#pragma unroll
    for (int i = 1; i < 5; ++i) rows_[i] = next_row();
  }
  __device__ float next() {
#pragma unroll
    for (int i = 0; i < 4; ++i) rows_[i] = rows_[i + 1];
    rows_[4] = next_row();
    return scrawl::blurred(rows_[0], rows_[1], rows_[2], rows_[3], rows_[4]);
  }

 private:
  /// The next row's value, blurred sideways.
  __device__ float next_row() {
    const float* at = &tile_[row_++][lane_];
    return scrawl::blurred(at[0], at[3], at[6], at[9], at[12]);
  }
  const Tile& tile_;
  int row_, lane_;
  float rows_[5];
};

template <typename T>
__global__ void __launch_bounds__(kThreads) make_crops(AugmentCrops args) {
  const int64_t image = blockIdx.z;
  const int left = blockIdx.x * kTileWidth, top = blockIdx.y * kTileHeight;
  const CropPlan plan = args.plans[image];
  auto& tile = shared<Tile, struct TileOfCrop>();
  fill(args, plan, image, left, top, tile);
  __syncthreads();

  const int lane = threadIdx.x % kLanes, first = threadIdx.x / kLanes * kRowsOfThread;
  const int colour = lane % 3, x = left + lane / 3;
  if (x >= args.width) return;
  const auto write_rows = [&](auto next_value) {
#pragma unroll
    for (int i = 0; i < kRowsOfThread; ++i) {
      const float value = next_value(i);
      const int y = top + first + i;
      if (y >= args.height) return;
      const bool covered = plan.contains(plan.left + x, plan.top + y);
      static_cast<T*>(args.image)[((image * args.height + y) * args.width + x) * 3 + colour] =
          as_storage<T>(covered ? normalised(value, colour) : 0.0f);
    }
  };
  if (plan.blurred) {
    ColumnBlur blur(tile, first, lane);
    write_rows([&](int) { return blur.next(); });
  } else {
    write_rows([&](int i) { return tile[first + i + kBlurReach][lane + 3 * kBlurReach]; });
  }
}

}  // namespace

void run(const AugmentCrops& args, Queue& queue) {
  const LaunchShape shape{
      .name = args.name,
      .grid = {ceil_div(args.width, kTileWidth), ceil_div(args.height, kTileHeight), args.images},
      .block = {kThreads}};
  with_storage(args.dtype, args.name,
               [&]<typename T>(Storage<T>) { launch(queue, shape, make_crops<T>, args); });
}

}  // namespace scrawl::SCRAWL_GPU
