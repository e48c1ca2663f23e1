// Weight gradients of linear layers and convolutions, dw (+)= Σ dyᵀ x in fp32 from bf16, several in one
// launch on the tensor cores of compute capability 9.0.  Tiles of 128 × 128 results of all of them share the
// GPU; where they are too few for it, their positions are cut into parts, whose sums a second launch adds in
// order (weight_gradients_plan.cuh).  So a group of small products takes little more than its share of the
// tensor cores, where each alone would wait for a few blocks with many terms, or for many partial sums.
// A block of two warpgroups computes one tile for one part.  Rows of dy and x come to shared memory as they
// lie, a window of positions a stage, by the unit for copies of tiles; both factors are operands along mn,
// so that nothing is transposed, and a convolution needs no columns.  A warpgroup takes 64 rows of results;
// one whose rows do not exist computes nothing.  dbias is a product of dy with ones.  Two blocks fit on a
// multiprocessor, so that the kernels of the backward pass find room beside one.
// Cost: each tile reads its columns of dy and x, mostly from the second-level cache; partial sums are
// written and read once, at most 132 tiles of them.
// Limits: see fits_group() and fits_windows().  Where a window reaches beyond a convolution's outputs, zeros
// of dy meet values of x, which must be finite.
#include "kernels/cuda/convolution/weight_gradients_wgmma.cuh"

#include "kernels/cuda/convolution/weight_gradients_plan.cuh"
#include "kernels/cuda/device/elementwise.cuh"
#include "kernels/cuda/device/fragments.cuh"
#include "kernels/cuda/device/math.cuh"
#include "kernels/cuda/device/shared.cuh"
#include "kernels/cuda/device/stages.cuh"
#include "kernels/cuda/device/wgmma.cuh"

namespace scrawl::SCRAWL_GPU {

namespace {

constexpr int kStages = 3;
static_assert(kGradientTile == 2 * kTileColumns && kGradientThreads == 2 * kWarpgroupThreads);

/// 64 columns of a factor in a stage.
using Columns = bf16[kWindowPositions * kTileColumns];

struct alignas(1024) GradientShared {
  struct {
    Columns dy[2], x[2];
  } stages[kStages];
  bf16 ones[16 * kTileColumns];
  CopyBarrier arrived[kStages];
};

/// What a block computes: a tile of one gradient for one part of its positions.
struct Task {
  const TensorMap *dy, *x;
  const WeightGradient& gradient;
  int row, column, tap, part;
  int first_step, steps;
  bool tall, wide;  // more than 64 rows, columns

  __device__ Task(const WeightGradientGroup& group, int number, int block)
      : dy(&group.dy[number]), x(&group.x[number]), gradient(group.gradients[number]) {
    const WeightGradient& g = gradient;
    const int index = block - g.first_block, tile = index % g.tiles, across = tile % g.tiles_across;
    row = tile / g.tiles_across * kGradientTile;
    column = across % g.tiles_of_tap * kGradientTile;
    tap = across / g.tiles_of_tap;
    part = index / g.tiles;
    first_step = part * g.steps_of_part;
    steps = min(g.steps_of_part, g.steps - first_step);
    tall = row + kTileColumns < g.m;
    wide = column + kTileColumns < g.n;
  }
  __device__ bool sums_bias() const { return gradient.dbias && tap == 0 && column == 0; }
};

/// Starts the copies of one stage after the other; by one thread, which keeps the place, since computing it
/// anew would take longer than a stage's products.
class Copies {
 public:
  __device__ explicit Copies(const Task& task)
      : task_(task),
        window_(task.gradient.windows, task.first_step),
        x_(task.tap % task.gradient.kernel - task.gradient.padding, task.gradient.stride),
        y_(task.tap / task.gradient.kernel - task.gradient.padding, task.gradient.stride),
        bytes_(task.gradient.windows.positions() * kTileColumns * static_cast<int>(sizeof(bf16))) {}

  __device__ __forceinline__ void start_next(GradientShared& memory, int stage_number) {
    auto& stage = memory.stages[stage_number];
    CopyBarrier& arrived = memory.arrived[stage_number];
    const TilePlace in_dy{{task_.row, window_.across, 0, window_.down, window_.image}};
    const TilePlace in_x = shifted(window_, x_, y_, task_.gradient.n, task_.column);
    const auto next = [](TilePlace place) {
      place.at[0] += kTileColumns;
      return place;
    };
    expect_bytes(arrived, bytes_ * (2 + task_.tall + task_.wide));
    copy_tile_bulk(stage.dy[0], *task_.dy, in_dy, arrived);
    copy_tile_bulk(stage.x[0], *task_.x, in_x, arrived);
    if (task_.tall) copy_tile_bulk(stage.dy[1], *task_.dy, next(in_dy), arrived);
    if (task_.wide) copy_tile_bulk(stage.x[1], *task_.x, next(in_x), arrived);
    window_.advance(task_.gradient.windows);
  }

 private:
  const Task& task_;
  WindowPlace window_;
  Shift x_, y_;
  int bytes_;
};

/// What products read and no copy writes: ones, and zeros behind a window.
__device__ __forceinline__ void fill_constants(GradientShared& memory, int positions) {
  for (int i = threadIdx.x; i < 16 * kTileColumns; i += kGradientThreads)
    memory.ones[i] = as_storage<bf16>(1.0f);
  for (auto& stage : memory.stages)
    for (int i = positions * kTileColumns + static_cast<int>(threadIdx.x);
         i < kWindowPositions * kTileColumns; i += kGradientThreads)
      stage.dy[0][i] = stage.dy[1][i] = stage.x[0][i] = stage.x[1][i] = as_storage<bf16>(0.0f);
}

/// Starts the products of a stage and closes them into a group.  Without branches between them: the compiler
/// would wait for each alone.
template <bool wide, bool sum>
__device__ __forceinline__ void multiply(FragmentD (&results)[2][8], FragmentD& sums, TileOperand rows,
                                         TileOperand columns, TileOperand ones, bool accumulate) {
  fence_products(results[0], results[1], sums);
#pragma unroll
  for (int k = 0; k < kWindowPositions; k += 16) {
    if constexpr (wide)
      start_product<Major::mn, Major::mn>(results, rows.from(k, 0), columns.from(k, 0), accumulate || k > 0);
    else
      start_product<Major::mn, Major::mn>(results[0], rows.from(k, 0), columns.from(k, 0),
                                          accumulate || k > 0);
    if constexpr (sum) start_product<Major::mn, Major::mn>(sums, rows.from(k, 0), ones, accumulate || k > 0);
  }
  commit_products();
}

/// Stores a warp's 16 rows of a tile from `row` on.
__device__ __forceinline__ void store_tile(const FragmentD (&results)[2][8], const Task& task, float* dw,
                                           int row_stride, bool accumulate, int row) {
  const WeightGradient& g = task.gradient;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int r = row + FragmentD::row(2 * half);
    if (r >= g.m) continue;
    float* const target = dw + int64_t{r} * row_stride + task.tap * g.n + FragmentD::column(0);
#pragma unroll
    for (int j = 0; j < 16; ++j) {
      if (task.column + 8 * j >= g.n) continue;
      float* const to = target + task.column + 8 * j;
      const float* const pair = &results[j / 8][j % 8].values[2 * half];
      Floats<2> sums{pair[0], pair[1]};
      if (accumulate) add_stored(sums, to);
      store<2>(to, sums);
    }
  }
}

__global__ void __launch_bounds__(kGradientThreads, 2)
    multiply_parts(const __grid_constant__ WeightGradientGroup group, float* partials) {
  auto& memory = *dynamic_shared<GradientShared>();
  const int block = static_cast<int>(blockIdx.x);
  const Task task(group, group.gradient_of<&WeightGradient::first_block>(block), block);
  Copies copies(task);
  const auto start = [&](int step) { copies.start_next(memory, step % kStages); };
  begin_stages<kStages - 1>(memory.arrived, task.steps, start);
  fill_constants(memory, task.gradient.windows.positions());
  show_products();
  __syncthreads();

  const int warpgroup = warp_index() / 4;
  const bool has_rows = warpgroup == 0 || task.tall, sum = task.sums_bias();
  FragmentD results[2][8], sums;
  walk_stages(memory.arrived, task.steps, start, [&](int step) {
    if (!has_rows) return;
    const auto& stage = memory.stages[step % kStages];
    const TileOperand rows = tile_operand(stage.dy[warpgroup]);
    const TileOperand columns = tile_operand(stage.x[0], kWindowPositions * kTileColumns);
    const TileOperand ones = tile_operand(memory.ones);
    if (task.wide)
      sum ? multiply<true, true>(results, sums, rows, columns, ones, step > 0)
          : multiply<true, false>(results, sums, rows, columns, ones, step > 0);
    else
      sum ? multiply<false, true>(results, sums, rows, columns, ones, step > 0)
          : multiply<false, false>(results, sums, rows, columns, ones, step > 0);
  });
  wait_products<0>(results[0], results[1], sums);
  if (!has_rows) return;

  const WeightGradient& g = task.gradient;
  const bool direct = g.parts == 1, accumulate = direct && g.accumulate;
  float* const part_sums = partials + g.first_partial + task.part * g.part_floats();
  const int first_row = task.row + warp_index() * 16;
  store_tile(results, task, direct ? g.dw : part_sums, direct ? g.row_stride : g.columns(), accumulate,
             first_row);
  if (!sum || FragmentD::column(0) != 0) return;
  float* const to = direct ? g.dbias : part_sums + int64_t{g.m} * g.columns();
#pragma unroll
  for (int half = 0; half < 2; ++half)
    if (const int r = first_row + FragmentD::row(2 * half); r < g.m)
      to[r] = (accumulate ? to[r] : 0.0f) + sums.values[2 * half];
}

/// dw and dbias (+)= the sum of all parts.  A lane takes four neighbouring values; where parts are many,
/// eight threads share those of a lane.
__global__ void __launch_bounds__(kGradientThreads)
    add_parts(const __grid_constant__ WeightGradientGroup group, const float* partials) {
  const int number = group.gradient_of<&WeightGradient::first_sum_block>(static_cast<int>(blockIdx.x));
  const WeightGradient& g = group.gradients[number];
  const int lanes = g.lanes(), lane = threadIdx.x % lanes, share = threadIdx.x / lanes;
  const int64_t floats = g.part_floats();
  const int64_t index = (int64_t{blockIdx.x - g.first_sum_block} * lanes + lane) * 4;
  const float* const source = partials + g.first_partial + index;
  Floats<4> total{};
  const auto add = [&](const Floats<4>& values) {
#pragma unroll
    for (int i = 0; i < 4; ++i) total[i] += values[i];
  };
  if (index < floats)
#pragma unroll 4
    for (int part = share; part < g.parts; part += kGradientThreads / lanes)
      add(load<4>(source + part * floats));
  if (lanes < kGradientThreads) {
    auto& shares = shared<Pack<float, 4>[kGradientThreads], struct Shares>();
    store<4>(&shares[threadIdx.x][0], total);
    __syncthreads();
    if (share > 0) return;
    for (int other = lane + lanes; other < kGradientThreads; other += lanes) add(load<4>(&shares[other][0]));
  }
  if (index >= floats) return;
  const int64_t of_bias = index - int64_t{g.m} * g.columns();  // rows of dw and dbias are whole packs
  float* const to =
      of_bias >= 0 ? g.dbias + of_bias : g.dw + index / g.columns() * g.row_stride + index % g.columns();
  if (g.accumulate) add_stored(total, to);
  store<4>(to, total);
}

void launch_gradients(std::string_view name, std::span<const PlannedGradient> gradients, Queue& queue) {
  for (; !gradients.empty();
       gradients = gradients.subspan(std::min<size_t>(gradients.size(), kMostGradients))) {
    const WeightGradientPlan plan(gradients.first(std::min<size_t>(gradients.size(), kMostGradients)));
    const Scratch partials = queue.scratch(plan.partial_floats);
    launch(queue,
           {.name = name,
            .grid = {plan.blocks},
            .block = {kGradientThreads},
            .shared_bytes = sizeof(GradientShared)},
           multiply_parts, plan.group, partials.data());
    launch(queue, {.name = name, .grid = {plan.sum_blocks}, .block = {kGradientThreads}}, add_parts,
           plan.group, partials.data());
  }
}

/// Whether rows are whole packs, as the unit for copies of tiles wants them.
bool packed(const void* matrix, int64_t columns, int64_t ld) {
  return columns > 0 && columns % 8 == 0 && packable(ld, {matrix}) % 8 == 0;
}

}  // namespace

bool fits_group(const MatMul& args) {
  constexpr int64_t kMostTerms = int64_t{1} << 30;
  constexpr int64_t kMostWork = int64_t{1} << 32;  // products of two numbers
  return args.dtype == DType::bf16 && args.c_dtype == DType::f32 && args.transpose_a && !args.transpose_b &&
         !args.bias && !args.has_epilogue() && packed(args.a, args.m, args.lda) &&
         packed(args.b, args.n, args.ldb) && packable(args.ldc, {args.c, args.a_sum}) % 4 == 0 &&
         args.k > 0 && args.k < kMostTerms && args.m * args.n * args.k < kMostWork;
}

void multiply_group(std::string_view name, std::span<const MatMul> products, Queue& queue) {
  std::vector<PlannedGradient> gradients;
  for (const MatMul& product : products) gradients.push_back(planned(product));
  launch_gradients(name, gradients, queue);
}

bool convolve_by_windows(const ConvolutionBackwardWeight& args, Queue& queue) {
  if (queue.compute_capability() != 90 ||
      !fits_windows(args.dtype, args.shape, {args.dy, args.x, args.dw, args.dbias}))
    return false;
  const PlannedGradient gradient = planned(args);
  launch_gradients(args.name, {&gradient, 1}, queue);
  return true;
}

}  // namespace scrawl::SCRAWL_GPU
