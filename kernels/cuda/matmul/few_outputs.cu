// What goes back through a classifier over rectified features x, in bf16 on tensor cores: dx = dy · W where x
// is positive, dW = dyᵀ · x and db = Σ dy, with up to 32 outputs.
// A block takes a part of the rows, in stages of 64, and 256 columns of x, 32 for each warp, which keeps W's
// of those in fragments.  x of a stage is in shared memory for both: as ReLU's gate, and as factor of dW,
// whose sums stay in registers to the end.  So it is read once, and dx may lie over it.  The next stage is on
// its way meanwhile: x by asynchronous copies, dy, whose rows are no whole packs, through registers.  A
// second launch adds the parts of dW and db in order.
// Cost: one read of x and one write of dx.
// Limits: inputs are a multiple of 32.
#include "kernels/cuda/matmul/few_outputs.h"

#include "kernels/cuda/device/async_copy.cuh"
#include "kernels/cuda/device/elementwise.cuh"
#include "kernels/cuda/device/math.cuh"
#include "kernels/cuda/device/shared.cuh"
#include "kernels/cuda/matmul/product_parts.cuh"
#include "kernels/relu.h"

namespace scrawl::SCRAWL_GPU {

namespace {

constexpr int kThreads = 256, kWarpColumns = 32, kColumns = kThreads / kWarpSize * kWarpColumns;
constexpr int kRows = 64;  // of a stage
constexpr int kStages = 2, kStride = kColumns + kRowPadding;
constexpr int kMostOutputs = 32, kOutputStride = kMostOutputs + kRowPadding;
constexpr int kOutputTiles = kMostOutputs / 16, kColumnTiles = kWarpColumns / 8;

struct Stage {
  alignas(16) bf16 x[kRows * kStride];
  alignas(16) bf16 dy[kRows * kOutputStride];
};

/// A layer and its parts: those of dW are of rows.
struct Layer {
  const bf16 *x, *dy, *w;
  bf16* dx;
  int64_t rows, rows_of_part;
  int inputs, outputs, chunks;  // of kColumns inputs
  ProductParts parts;

  explicit Layer(const RectifiedLinearBackward& args)
      : x(static_cast<const bf16*>(args.x)),
        dy(static_cast<const bf16*>(args.dy)),
        w(static_cast<const bf16*>(args.w)),
        dx(static_cast<bf16*>(args.dx)),
        rows(args.rows),
        inputs(static_cast<int>(args.inputs)),
        outputs(static_cast<int>(args.outputs)),
        chunks(static_cast<int>(ceil_div(args.inputs, kColumns))),
        parts(args.weight_product()) {
    constexpr int64_t kBlocks = 2 * 132;  // two on each multiprocessor of a large GPU
    const int64_t wanted = std::max<int64_t>(1, kBlocks / chunks);
    rows_of_part = std::max<int64_t>(1, ceil_div(ceil_div(rows, kRows), wanted)) * kRows;
    parts.parts = static_cast<int>(std::max<int64_t>(1, ceil_div(rows, rows_of_part)));
  }
};

/// W's rows as B [outputs, columns] of a warp; outputs beyond the last are zeros.
struct Weights {
  FragmentB b[kOutputTiles][kColumnTiles];

  __device__ Weights(const Layer& layer, int column) {
    const int group = lane_index() / 4, member = lane_index() % 4;
    const auto value = [&](int output, int tile) {
      return output < layer.outputs
                 ? unsigned{layer.w[output * layer.inputs + column + 8 * tile + group].bits}
                 : 0u;
    };
#pragma unroll
    for (int k = 0; k < kOutputTiles; ++k)
#pragma unroll
      for (int j = 0; j < kColumnTiles; ++j)
#pragma unroll
        for (int word = 0; word < 2; ++word) {
          const int output = 16 * k + 8 * word + 2 * member;
          b[k][j].words[word] = value(output, j) | value(output + 1, j) << 16;
        }
  }
};

/// A thread's share of a stage's dy, on its way: eight outputs of a row, zeros beyond the last of either.
class RowsOfDy {
  static constexpr int kShare = 8, kThreadsOfRow = kMostOutputs / kShare;
  static_assert(kThreads == kRows * kThreadsOfRow);

 public:
  __device__ __forceinline__ void load(const Layer& layer, int64_t first, int64_t end) {
    const int64_t row = first + threadIdx.x / kThreadsOfRow;
    const bf16* const from = layer.dy + row * layer.outputs;
#pragma unroll
    for (int i = 0; i < kShare; ++i)
      values_[i] = row < end && first_output() + i < layer.outputs ? from[first_output() + i] : bf16{};
  }
  __device__ __forceinline__ void store(Stage& stage) const {
    store_pack(stage.dy + threadIdx.x / kThreadsOfRow * kOutputStride + first_output(), values_);
  }

 private:
  __device__ static int first_output() {
    return threadIdx.x % kThreadsOfRow * kShare;
  }
  Pack<bf16, kShare> values_;
};

/// dx of a stage's rows, `rows` of them; `x` and `dx` begin with the warp's columns.
__device__ __forceinline__ void input_gradient(const Weights& w, const bf16* dy, const bf16* x, bf16* dx,
                                               const Layer& layer, int rows) {
#pragma unroll 1
  for (int row = 0; row < kRows; row += 16) {
    FragmentD results[kColumnTiles];
#pragma unroll
    for (int k = 0; k < kOutputTiles; ++k) {
      const FragmentA a = load_a(dy + row * kOutputStride + 16 * k, kOutputStride);
#pragma unroll
      for (int j = 0; j < kColumnTiles; ++j) mma(results[j], a, w.b[k][j]);
    }
    for_packs<kColumnTiles>(
        results, [](int) { return 1.0f; },
        [&](int r, int column, Floats<8>& values) {
          if (row + r >= rows) return;
          const auto gate = load<8>(x + (row + r) * kStride + column);
#pragma unroll
          for (int i = 0; i < 8; ++i) values[i] = gate[i] > 0.0f ? values[i] : 0.0f;
          store<8>(dx + int64_t{row + r} * layer.inputs + column, values);
        });
  }
}

/// What a warp has of dW, and of db.
struct WeightSums {
  FragmentD dw[kOutputTiles][kColumnTiles], dbias[kOutputTiles];

  /// Adds a stage's terms.
  __device__ __forceinline__ void add(const bf16* dy, const bf16* x, bool with_bias) {
    constexpr uint32_t kOnes = 0x3F803F80;
#pragma unroll 1
    for (int k = 0; k < kRows; k += 16) {
      FragmentPairB b[kColumnTiles / 2];
#pragma unroll
      for (int j = 0; j < kColumnTiles / 2; ++j) b[j] = load_pair(x + k * kStride + 16 * j, kStride);
#pragma unroll
      for (int i = 0; i < kOutputTiles; ++i) {
        const FragmentA a = load_a_transposed(dy + k * kOutputStride + 16 * i, kOutputStride);
#pragma unroll
        for (int j = 0; j < kColumnTiles; ++j) mma(dw[i][j], a, b[j / 2].b[j % 2]);
        if (with_bias) mma(dbias[i], a, FragmentB{{kOnes, kOnes}});
      }
    }
  }
};

__global__ void __launch_bounds__(kThreads, 2) go_back(const __grid_constant__ Layer layer, float* partials) {
  auto* const stages = dynamic_shared<Stage>();
  const int part = static_cast<int>(blockIdx.x) / layer.chunks;
  const int first_column = static_cast<int>(blockIdx.x) % layer.chunks * kColumns;
  const int64_t begin = part * layer.rows_of_part, end = min(layer.rows, begin + layer.rows_of_part);
  const int steps = static_cast<int>((end - begin + kRows - 1) / kRows);
  RowsOfDy dy;
  const auto start = [&](int step) {
    if (step < steps) {
      Stage& stage = stages[step % kStages];
      const int64_t first = begin + step * kRows;
      dy.load(layer, first, end);
      constexpr int kPacks = kColumns / 8;
#pragma unroll 4
      for (int i = 0; i < kRows * kPacks / kThreads; ++i) {
        const int index = i * kThreads + threadIdx.x, row = index / kPacks, at = index % kPacks * 8;
        const bool exists = first + row < end && first_column + at < layer.inputs;
        copy_async<16>(stage.x + row * kStride + at,
                       exists ? layer.x + (first + row) * layer.inputs + first_column + at : layer.x, exists);
      }
    }
    commit_copies();
  };

  start(0);
  const int warp_column = warp_index() * kWarpColumns, column = first_column + warp_column;
  const bool works = column < layer.inputs, with_bias = layer.parts.sum && column == 0;
  const Weights w(layer, works ? column : 0);
  WeightSums sums;
  for (int step = 0; step < steps; ++step) {
    dy.store(stages[step % kStages]);
    start(step + 1);
    wait_copies<kStages - 1>();
    __syncthreads();  // the stage has arrived
    const Stage& stage = stages[step % kStages];
    const int64_t first = begin + step * kRows;
    if (works) {
      input_gradient(w, stage.dy, stage.x + warp_column, layer.dx + first * layer.inputs + column, layer,
                     static_cast<int>(min(int64_t{kRows}, end - first)));
      sums.add(stage.dy, stage.x + warp_column, with_bias);
    }
    __syncthreads();  // it has been read
  }
  if (!works) return;
  float* const mine = partials + part * layer.parts.part_stride();
#pragma unroll
  for (int i = 0; i < kOutputTiles; ++i) {
    layer.parts.store(mine, sums.dw[i], 16 * i, column);
    if (with_bias) layer.parts.store_sums(mine, sums.dbias[i], 16 * i);
  }
}

}  // namespace

bool has_few_outputs(const RectifiedLinearBackward& args) {
  return args.dtype == DType::bf16 && args.outputs > 0 && args.outputs <= kMostOutputs && args.inputs > 0 &&
         args.inputs % kWarpColumns == 0 && packable(8, {args.x, args.dx}) == 8;
}

void go_back_at_once(const RectifiedLinearBackward& args, Queue& queue) {
  const Layer layer(args);
  const Scratch partials = queue.scratch(layer.parts.parts * layer.parts.part_stride());
  const LaunchShape blocks{.name = args.name,
                           .grid = {int64_t{layer.parts.parts} * layer.chunks},
                           .block = {kThreads},
                           .shared_bytes = kStages * static_cast<int64_t>(sizeof(Stage))};
  launch(queue, blocks, go_back, layer, partials.data());
  add_parts(layer.parts, partials.data(), args.weight_product(), queue);
}

void go_back_by_products(const RectifiedLinearBackward& args, Queue& queue) {
  run(args.weight_product(), queue);
  const int64_t values = args.rows * args.inputs;
  const Scratch product = queue.scratch(ceil_div(values * size_of(args.dtype), sizeof(float)));
  run(args.input_product(product.data()), queue);
  const ReluBackward gate{
      .dtype = args.dtype, .y = args.x, .dy = product.data(), .dx = args.dx, .elements = values};
  run(gate, queue);
}

}  // namespace scrawl::SCRAWL_GPU
