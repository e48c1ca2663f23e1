// Products c (+)= aᵀ · b of bf16, as weight gradients are, several in one launch on the tensor cores of
// compute capability 9.0.  Tiles of 128 × 128 results of all products share the GPU; where they are too few
// for it, the terms of all are cut into parts, whose sums a second launch adds in order.  So a group of small
// products takes little more than its share of the tensor cores, where each alone would wait for a few blocks
// with many terms, or for many blocks' partial sums.
// A block of two warpgroups computes one tile for one part.  Rows of a and b come to shared memory as they
// lie, 64 terms a stage, by the unit for copies of tiles; both factors are operands along mn, so that nothing
// is transposed.  A warpgroup takes 64 rows of results; one whose rows do not exist computes nothing.  The
// sums of a's terms are products with ones.  Two blocks share a multiprocessor: one computes while the other
// waits for its first stage or stores.
// Cost: each tile reads its columns of a and b, mostly from the second-level cache; partial sums are written
// and read once, at most 264 tiles of them.
// Limits: columns of a and b are whole packs of 8 (see fits_group()).
#include <algorithm>

#include "kernels/cuda/device/bulk_copy.cuh"
#include "kernels/cuda/device/elementwise.cuh"
#include "kernels/cuda/device/math.cuh"
#include "kernels/cuda/device/shared.cuh"
#include "kernels/cuda/device/wgmma.cuh"
#include "kernels/cuda/matmul_parts.h"

namespace scrawl::SCRAWL_GPU {

namespace {

constexpr int kTile = 2 * kTileColumns;  // rows and columns of results
constexpr int kTerms = 64, kStages = 3;
constexpr int kThreads = 2 * kWarpgroupThreads;
constexpr int64_t kBlocks = 2 * 132;  // that fill a large GPU
constexpr int kMostProducts = 10;     // of one launch, whose arguments end at 4 KB

/// 64 columns of a factor in a stage.
using Columns = bf16[kTerms * kTileColumns];

struct alignas(1024) GroupShared {
  struct {
    Columns a[2], b[2];
  } stages[kStages];
  bf16 ones[16 * kTileColumns];
  CopyBarrier arrived[kStages];
};

struct GroupProduct {
  float *c, *a_sum;
  int64_t ldc;
  int64_t first_partial;  // of its partial sums, when there are several parts
  int m, n, terms, terms_of_part, parts;
  int tiles_across, tiles;
  int first_block, first_sum_block;
  bool accumulate;

  /// Floats of a part's c and, behind it, its sums of a's terms.
  __host__ __device__ int64_t part_floats() const { return int64_t{m} * n + (a_sum ? m : 0); }
  __host__ __device__ int lanes() const { return parts > 8 ? 32 : kThreads; }  // see add_parts()
};

struct Group {
  TensorMap a[kMostProducts], b[kMostProducts];
  GroupProduct products[kMostProducts];
  int count = 0;

  /// The number of the one whose `first` is the last up to this block.
  template <int GroupProduct::*first>
  __device__ int product_of(int block) const {
    int i = 0;
    while (i + 1 < count && products[i + 1].*first <= block) ++i;
    return i;
  }
};

/// A tile of one product for one part of its terms.
struct Task {
  const TensorMap *a, *b;
  int row, column, begin, steps;
  bool tall, wide;  // more than 64 rows, columns
};

/// Starts the copies of one stage; by one thread.
__device__ __forceinline__ void start_stage(GroupShared& memory, const Task& task, int step) {
  constexpr unsigned kBytes = sizeof(Columns);
  auto& stage = memory.stages[step % kStages];
  CopyBarrier& arrived = memory.arrived[step % kStages];
  const int term = task.begin + step * kTerms;
  expect_bytes(arrived, kBytes * (2 + task.tall + task.wide));
  copy_tile_bulk(stage.a[0], *task.a, term, task.row, arrived);
  copy_tile_bulk(stage.b[0], *task.b, term, task.column, arrived);
  if (task.tall) copy_tile_bulk(stage.a[1], *task.a, term, task.row + kTileColumns, arrived);
  if (task.wide) copy_tile_bulk(stage.b[1], *task.b, term, task.column + kTileColumns, arrived);
}

/// Stores a warpgroup's 64 rows of a tile from (row, column) on to c, or to a part's.
__device__ __forceinline__ void store_tile(const FragmentD (&results)[2][8], const GroupProduct& product,
                                           float* c, int64_t ld, bool accumulate, int row, int column) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int r = row + FragmentD::row(2 * half);
    if (r >= product.m) continue;
#pragma unroll
    for (int j = 0; j < 16; ++j) {
      if (column + 8 * j >= product.n) continue;
      float* const to = c + r * ld + column + 8 * j + FragmentD::column(0);
#pragma unroll
      for (int i = 0; i < 2; ++i)
        to[i] = (accumulate ? to[i] : 0.0f) + results[j / 8][j % 8].values[2 * half + i];
    }
  }
}

__global__ void __launch_bounds__(kThreads, 2)
    multiply_parts(const __grid_constant__ Group group, float* partials) {
  auto& memory = *dynamic_shared<GroupShared>();
  const int number = group.product_of<&GroupProduct::first_block>(blockIdx.x);
  const GroupProduct& product = group.products[number];
  const int index = static_cast<int>(blockIdx.x) - product.first_block;
  const int tile = index % product.tiles, part = index / product.tiles;
  const int row = tile / product.tiles_across * kTile, column = tile % product.tiles_across * kTile;
  const int begin = part * product.terms_of_part, end = min(begin + product.terms_of_part, product.terms);
  const Task task{.a = &group.a[number],
                  .b = &group.b[number],
                  .row = row,
                  .column = column,
                  .begin = begin,
                  .steps = (end - begin + kTerms - 1) / kTerms,
                  .tall = row + kTileColumns < product.m,
                  .wide = column + kTileColumns < product.n};
  if (threadIdx.x == 0) {
    for (CopyBarrier& arrived : memory.arrived) start_barrier(arrived);
    for (int step = 0; step < min(kStages - 1, task.steps); ++step) start_stage(memory, task, step);
  }
  for (int i = threadIdx.x; i < 16 * kTileColumns; i += kThreads) memory.ones[i] = as_storage<bf16>(1.0f);
  show_products();
  __syncthreads();

  const int warpgroup = warp_index() / 4;
  const bool has_rows = warpgroup == 0 || task.tall, sum = product.a_sum && column == 0;
  FragmentD results[2][8], sums;
#pragma unroll 1
  for (int step = 0; step < task.steps; ++step) {
    const auto& stage = memory.stages[step % kStages];
    wait_for_phase(memory.arrived[step % kStages], step / kStages);
    if (has_rows) {
      const TileOperand rows = tile_operand(stage.a[warpgroup]);
      const TileOperand columns = tile_operand(stage.b[0], kTerms * kTileColumns);
      fence_products(results[0], results[1], sums);
#pragma unroll
      for (int k = 0; k < kTerms; k += 16) {
        const bool accumulate = step > 0 || k > 0;
        if (task.wide)
          start_product<Major::mn, Major::mn>(results, rows.from(k, 0), columns.from(k, 0), accumulate);
        else
          start_product<Major::mn, Major::mn>(results[0], rows.from(k, 0), columns.from(k, 0), accumulate);
        if (sum)
          start_product<Major::mn, Major::mn>(sums, rows.from(k, 0), tile_operand(memory.ones), accumulate);
      }
      commit_products();
    }
    wait_products<1>();
    __syncthreads();  // products of the step before are done: their stage is free
    if (const int next = step + kStages - 1; threadIdx.x == 0 && next < task.steps)
      start_stage(memory, task, next);
  }
  wait_products<0>(results[0], results[1], sums);
  if (!has_rows) return;

  const bool direct = product.parts == 1;
  float* const part_sums = partials + product.first_partial + part * product.part_floats();
  const int first_row = row + warp_index() * 16;
  store_tile(results, product, direct ? product.c : part_sums, direct ? product.ldc : product.n,
             direct && product.accumulate, first_row, column);
  if (!sum || FragmentD::column(0) != 0) return;
  float* const to = direct ? product.a_sum : part_sums + int64_t{product.m} * product.n;
#pragma unroll
  for (int half = 0; half < 2; ++half)
    if (const int r = first_row + FragmentD::row(2 * half); r < product.m)
      to[r] = (direct && product.accumulate ? to[r] : 0.0f) + sums.values[2 * half];
}

/// c and a_sum (+)= the sum of all parts.  A lane takes four neighbouring values; where parts are many, eight
/// threads share those of a lane.
__global__ void __launch_bounds__(kThreads)
    add_parts(const __grid_constant__ Group group, const float* partials) {
  const GroupProduct& product = group.products[group.product_of<&GroupProduct::first_sum_block>(blockIdx.x)];
  const int lanes = product.lanes(), lane = threadIdx.x % lanes, share = threadIdx.x / lanes;
  const int64_t floats = product.part_floats();
  const int64_t index = (int64_t{blockIdx.x - product.first_sum_block} * lanes + lane) * 4;
  const float* const source = partials + product.first_partial + index;
  Floats<4> total{};
  if (index < floats)
#pragma unroll 4
    for (int part = share; part < product.parts; part += kThreads / lanes) {
      const auto values = load<4>(source + part * floats);
#pragma unroll
      for (int i = 0; i < 4; ++i) total[i] += values[i];
    }
  auto& shares = shared<Pack<float, 4>[kThreads], struct Shares>();
  if (lanes < kThreads) {
    store<4>(&shares[threadIdx.x][0], total);
    __syncthreads();
    if (share > 0) return;
    for (int other = lane + lanes; other < kThreads; other += lanes) {
      const auto values = load<4>(&shares[other][0]);
#pragma unroll
      for (int i = 0; i < 4; ++i) total[i] += values[i];
    }
  }
  if (index >= floats) return;
  const int64_t of_sum = index - int64_t{product.m} * product.n;  // rows of c and the sums are whole packs
  float* const to =
      of_sum >= 0 ? product.a_sum + of_sum : product.c + index / product.n * product.ldc + index % product.n;
#pragma unroll
  for (int i = 0; i < 4; ++i) to[i] = (product.accumulate ? to[i] : 0.0f) + total[i];
}

/// Terms of a part, the same for all products: the fewest that make no more blocks than fill a GPU.
int terms_of_parts(std::span<const MatMul> products) {
  constexpr int kFewest = 256;  // less are not worth their partial sums
  const auto blocks = [&](int terms) {
    int64_t count = 0;
    for (const MatMul& p : products)
      count += ceil_div(p.m, kTile) * ceil_div(p.n, kTile) * ceil_div(p.k, terms);
    return count;
  };
  int64_t most = kFewest;
  for (const MatMul& p : products) most = std::max(most, p.k);
  int terms = kFewest;
  while (terms < most && blocks(terms) > kBlocks) terms += kTerms;
  return terms;
}

/// A group's launches, in numbers.
struct GroupPlan {
  Group group;
  int64_t blocks = 0, sum_blocks = 0, partial_floats = 0;

  explicit GroupPlan(std::span<const MatMul> products) {
    const int terms = terms_of_parts(products);
    for (const MatMul& each : products) add(each, terms);
  }

 private:
  void add(const MatMul& args, int terms_of_part) {
    group.a[group.count] = tensor_map(static_cast<const bf16*>(args.a), args.k, args.m, args.lda, kTerms);
    group.b[group.count] = tensor_map(static_cast<const bf16*>(args.b), args.k, args.n, args.ldb, kTerms);
    GroupProduct& p = group.products[group.count++];
    p = {.c = static_cast<float*>(args.c),
         .a_sum = args.a_sum,
         .ldc = args.ldc,
         .first_partial = partial_floats,
         .m = static_cast<int>(args.m),
         .n = static_cast<int>(args.n),
         .terms = static_cast<int>(args.k),
         .tiles_across = static_cast<int>(ceil_div(args.n, kTile)),
         .first_block = static_cast<int>(blocks),
         .first_sum_block = static_cast<int>(sum_blocks),
         .accumulate = args.accumulate};
    p.tiles = static_cast<int>(ceil_div(p.m, kTile)) * p.tiles_across;
    // Parts of a product are of one length, but for the last.
    p.terms_of_part = static_cast<int>(ceil_div(ceil_div(p.terms, ceil_div(p.terms, terms_of_part)), kTerms));
    p.terms_of_part *= kTerms;
    p.parts = static_cast<int>(ceil_div(p.terms, p.terms_of_part));
    blocks += int64_t{p.tiles} * p.parts;
    if (p.parts == 1) return;
    partial_floats += p.parts * p.part_floats();
    sum_blocks += ceil_div(p.part_floats(), 4 * p.lanes());
  }
};

}  // namespace

bool fits_group(const MatMul& args) {
  constexpr int64_t kMostTerms = int64_t{1} << 30, kMostProducts = int64_t{1} << 32;
  const auto packed = [](const void* matrix, int64_t columns, int64_t ld) {
    return columns > 0 && columns % 8 == 0 && packable(ld, {matrix}) % 8 == 0;
  };
  return args.dtype == DType::bf16 && args.c_dtype == DType::f32 && args.transpose_a && !args.transpose_b &&
         !args.bias && packed(args.a, args.m, args.lda) && packed(args.b, args.n, args.ldb) && args.k > 0 &&
         args.k < kMostTerms && args.m * args.n * args.k < kMostProducts;
}

void multiply_group(std::string_view name, std::span<const MatMul> products, Queue& queue) {
  while (!products.empty()) {
    const size_t count = std::min<size_t>(products.size(), kMostProducts);
    const GroupPlan plan(products.first(count));
    products = products.subspan(count);
    const Scratch partials = queue.scratch(plan.partial_floats);
    launch(queue,
           {.name = name, .grid = {plan.blocks}, .block = {kThreads}, .shared_bytes = sizeof(GroupShared)},
           multiply_parts, plan.group, partials.data());
    launch(queue, {.name = name, .grid = {plan.sum_blocks}, .block = {kThreads}}, add_parts, plan.group,
           partials.data());
  }
}

}  // namespace scrawl::SCRAWL_GPU
