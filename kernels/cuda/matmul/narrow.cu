// Products of bf16 with up to 32 columns or terms, as a classifier's are: rows of as many values as there are
// classes are no whole packs, and libraries read or write them value by value, in large tiles half empty.
//   Few columns, c = a · bᵀ + bias: a warp takes 16 rows of a and holds all columns of c in fragments.  The
//   order of terms within a product does not matter as long as both factors share it, so a lane loads 16
//   bytes of a row at once, straight into fragments.  Rows of c leave by way of shared memory, in words.
//   Few terms, c (+)= a · b, or c = a · b behind a gate: a block copies its rows of a as they lie, densely; a
//   warp takes 16 of them, fills their terms up to 32 by zeros, and walks along the columns of b in shared
//   memory.  The gate's values are on their way meanwhile.
// Cost: one read of the wide factor or one write of the wide result; the narrow ones are little beside it.
// Limits: terms of the first and columns of the second are multiples of 32 up to 1,024.
#include "kernels/cuda/device/async_copy.cuh"
#include "kernels/cuda/device/elementwise.cuh"
#include "kernels/cuda/device/fragments.cuh"
#include "kernels/cuda/device/math.cuh"
#include "kernels/cuda/matmul/dense_rows.cuh"
#include "kernels/cuda/matmul/parts.h"

namespace scrawl::SCRAWL_GPU {

namespace {

constexpr int kNarrow = kMostDense, kThreads = 256, kWarps = kThreads / kWarpSize;
constexpr int kRows = 16 * kWarps;  // of a block
constexpr int kMostWide = 1024;     // values in a row of the wide factor or result

// --- few columns ------------------------------------------------------------------------------------------

constexpr int kTermPadding = 32;  // of b's rows in shared memory: lanes then read 16 bytes without conflicts

template <int tiles>  // of 8 columns
__global__ void __launch_bounds__(kThreads) multiply_few_columns(MatMul args) {
  const int terms = static_cast<int>(args.k), columns = static_cast<int>(args.n);
  const int stride = terms + kTermPadding;
  bf16* const b = dynamic_shared<bf16>();
  const int packs = terms / 8;
  for (int i = threadIdx.x; i < 8 * tiles * packs; i += kThreads) {
    const int row = i / packs, at = i % packs * 8;
    const bool exists = row < columns;
    const auto* from = static_cast<const bf16*>(args.b);
    copy_async<16>(b + row * stride + at, exists ? from + row * args.ldb + at : from, exists);
  }
  commit_copies();
  wait_copies();
  __syncthreads();

  auto& results = shared<bf16[kWarps][16 * kNarrow], struct Results>();
  const int group = lane_index() / 4, member = lane_index() % 4;
  const int64_t first = int64_t{blockIdx.x} * kRows + 16 * warp_index();
  const int rows = static_cast<int>(min(int64_t{16}, args.m - first));
  if (rows <= 0) return;
  const bf16* a = static_cast<const bf16*>(args.a) + (first + group) * args.lda + 8 * member;
  FragmentD c[tiles];
#pragma unroll 4
  for (int term = 0; term < terms; term += 32) {
    Pack<unsigned, 4> upper{}, lower{};
    if (group < rows) upper = load_pack<4>(reinterpret_cast<const unsigned*>(a + term));
    if (group + 8 < rows) lower = load_pack<4>(reinterpret_cast<const unsigned*>(a + 8 * args.lda + term));
#pragma unroll
    for (int j = 0; j < tiles; ++j) {
      const auto words =
          load_pack<4>(reinterpret_cast<const unsigned*>(b + (8 * j + group) * stride + term + 8 * member));
      mma(c[j], {{upper[0], lower[0], upper[1], lower[1]}}, {{words[0], words[1]}});
      mma(c[j], {{upper[2], lower[2], upper[3], lower[3]}}, {{words[2], words[3]}});
    }
  }
  bf16* const mine = results[warp_index()];
#pragma unroll
  for (int j = 0; j < tiles; ++j)
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int column = 8 * j + FragmentD::column(i);
      if (column >= columns) continue;
      const float bias = args.bias ? as_float(static_cast<const bf16*>(args.bias)[column]) : 0.0f;
      mine[FragmentD::row(i) * columns + column] = as_storage<bf16>(c[j].values[i] + bias);
    }
  __syncwarp();
  bf16* const to = static_cast<bf16*>(args.c) + first * columns;
  const int values = rows * columns;
  for (int i = 2 * lane_index(); i + 1 < values; i += 2 * kWarpSize)
    store_pack<2>(to + i, load_pack<2>(mine + i));
  if (values % 2 == 1 && lane_index() == 0) to[values - 1] = mine[values - 1];
}

// --- few terms --------------------------------------------------------------------------------------------

/// What for_packs() of four fragments asks of the gate: a pack in rows 0 … 7, and one in the others.
struct GatePacks {
  Pack<bf16, 8> upper{}, lower{};

  /// `gate`: where the fragments begin; `rows`: that there are.
  __device__ __forceinline__ void load(const bf16* gate, int64_t ld, int rows) {
    const int group = lane_index() / 4, member = lane_index() % 4;
    if (group < rows) upper = load_pack<8>(gate + group * ld + 8 * member);
    if (group + 8 < rows) lower = load_pack<8>(gate + (group + 8) * ld + 8 * member);
  }
  __device__ __forceinline__ void apply(int row, Floats<8>& values) const {
    const Pack<bf16, 8> pack = row < 8 ? upper : lower;
#pragma unroll
    for (int i = 0; i < 8; ++i) values[i] = value_of(pack, i) > 0.0f ? values[i] : 0.0f;
  }
};

/// Gated apart: the gate's values take registers, so that fewer blocks share a multiprocessor.
template <bool gated>
__global__ void __launch_bounds__(kThreads) multiply_few_terms(MatMul args) {
  const int terms = static_cast<int>(args.k), columns = static_cast<int>(args.n);
  const int stride = columns + kRowPadding;
  auto& a = shared<Pack<bf16, kRows * kNarrow>, struct RowsOfA>();
  bf16* const b = dynamic_shared<bf16>();
  const int64_t first = int64_t{blockIdx.x} * kRows;
  const int rows = static_cast<int>(min(int64_t{kRows}, args.m - first));
  start_dense<kRows, kThreads>(&a[0], static_cast<const bf16*>(args.a), first, args.m, terms);
  const int packs = columns / 8;
  for (int i = threadIdx.x; i < kNarrow * packs; i += kThreads) {
    const int row = i / packs, at = i % packs * 8;
    const bool exists = row < terms;
    const auto* from = static_cast<const bf16*>(args.b);
    copy_async<16>(b + row * stride + at, exists ? from + row * args.ldb + at : from, exists);
  }
  commit_copies();
  wait_copies();
  __syncthreads();

  const int row = 16 * warp_index();
  if (row >= rows) return;
  const bf16* const mine = &a[0] + row * terms;
  const FragmentA factors[2] = {dense_a(mine, terms, 0), dense_a(mine, terms, 16)};
  const int64_t begin = (first + row) * args.ldc;
  bf16* const c = static_cast<bf16*>(args.c) + begin;
  for (int column = 0; column < columns; column += 32) {
    GatePacks gate;
    if constexpr (gated)
      gate.load(static_cast<const bf16*>(args.gate) + begin + column, args.ldc, rows - row);
    FragmentD results[4];
#pragma unroll
    for (int k = 0; k < 2; ++k)
#pragma unroll
      for (int j = 0; j < 2; ++j) {
        const FragmentPairB pair = load_pair(b + 16 * k * stride + column + 16 * j, stride);
        mma(results[2 * j], factors[k], pair.b[0]);
        mma(results[2 * j + 1], factors[k], pair.b[1]);
      }
    for_packs<4>(
        results, [](int) { return 1.0f; },
        [&](int r, int at, Floats<8>& values) {
          if (row + r >= rows) return;
          bf16* const to = c + r * args.ldc + column + at;
          if constexpr (gated)
            gate.apply(r, values);
          else if (args.accumulate)
            add_stored(values, to);
          store<8>(to, values);
        });
  }
}

bool in_packs(int64_t ld, const void* matrix) {
  return packable(ld, {matrix}) % 8 == 0;
}

bool has_few_columns(const MatMul& args) {
  return args.transpose_b && args.n > 0 && args.n <= kNarrow && args.k > 0 && args.k % 32 == 0 &&
         args.k <= kMostWide && !args.accumulate && !args.has_epilogue() && args.ldc == args.n &&
         in_packs(args.lda, args.a) && in_packs(args.ldb, args.b) && in_packs(8, args.c);
}

bool has_few_terms(const MatMul& args) {
  return !args.transpose_b && !args.bias && !args.addend && !args.relu && args.k > 0 && args.k <= kNarrow &&
         args.lda == args.k && args.n > 0 && args.n % 32 == 0 && args.n <= kMostWide && in_packs(8, args.a) &&
         in_packs(args.ldb, args.b) && in_packs(args.ldc, args.c) && in_packs(8, args.gate);
}

template <int tiles>
void launch_few_columns(const MatMul& args, Queue& queue) {
  launch(queue,
         {.name = args.name,
          .grid = {ceil_div(args.m, kRows)},
          .block = {kThreads},
          .shared_bytes = 8 * tiles * (args.k + kTermPadding) * static_cast<int64_t>(sizeof(bf16))},
         multiply_few_columns<tiles>, args);
}

}  // namespace

bool is_narrow(const MatMul& args) {
  return args.dtype == DType::bf16 && args.c_dtype == DType::bf16 && !args.transpose_a && !args.a_sum &&
         (has_few_columns(args) || has_few_terms(args));
}

void multiply_narrow(const MatMul& args, Queue& queue) {
  if (!has_few_columns(args))
    return launch(queue,
                  {.name = args.name,
                   .grid = {ceil_div(args.m, kRows)},
                   .block = {kThreads},
                   .shared_bytes = kNarrow * (args.n + kRowPadding) * static_cast<int64_t>(sizeof(bf16))},
                  args.gate ? multiply_few_terms<true> : multiply_few_terms<false>, args);
  if (args.n <= 8) return launch_few_columns<1>(args, queue);
  if (args.n <= 16) return launch_few_columns<2>(args, queue);
  if (args.n <= 24) return launch_few_columns<3>(args, queue);
  return launch_few_columns<4>(args, queue);
}

}  // namespace scrawl::SCRAWL_GPU
