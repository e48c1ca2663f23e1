// The small kernels around a matrix product.  Sums of a's terms go through the column sum where a lies
// transposed and dense, as in a layer's backward pass; a warp for each row serves the rest, which the model
// does not have: there it reads rows of a coalesced, but columns of a strided a are read value by value.
#include "kernels/cuda/matmul/parts.h"

#include "kernels/column_sum.h"
#include "kernels/cuda/device/launch.cuh"
#include "kernels/cuda/device/math.cuh"
#include "kernels/cuda/device/storage.cuh"
#include "kernels/cuda/device/vector.cuh"
#include "kernels/cuda/device/warp.cuh"
#include "kernels/relu.h"

namespace scrawl::SCRAWL_GPU {

namespace {

constexpr int kThreads = 256, kWarps = kThreads / kWarpSize;
constexpr int kRectified = 8;  // values of a thread

template <typename T>
__global__ void __launch_bounds__(kThreads)
    sum_rows(const T* a, int64_t rows, int64_t terms, int64_t row_step, int64_t term_step, float* sum,
             bool accumulate) {
  const int64_t row = int64_t{blockIdx.x} * kWarps + warp_index();
  if (row >= rows) return;
  float total = 0.0f;
  for (int64_t i = lane_index(); i < terms; i += kWarpSize)
    total += as_float(a[row * row_step + i * term_step]);
  total = warp_sum(total);
  if (lane_index() == 0) sum[row] = (accumulate ? sum[row] : 0.0f) + total;
}

template <typename T>
__global__ void __launch_bounds__(kThreads) set_rows(const T* bias, const T* addend, int64_t rows,
                                                     int64_t columns, T* c, int64_t ldc, bool accumulate) {
  const int64_t index = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (index >= rows * columns) return;
  const int64_t column = index % columns, at = index / columns * ldc + column;
  float value = accumulate ? as_float(c[at]) : 0.0f;
  if (bias) value += as_float(bias[column]);
  if (addend) value += as_float(addend[at]);
  c[at] = as_storage<T>(value);
}

/// Eight values of a thread, or what is left of a row.
template <typename T>
__global__ void __launch_bounds__(kThreads)
    rectify_rows(T* c, int64_t rows, int64_t columns, int64_t ldc, int64_t packs) {
  const int64_t index = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (index >= rows * packs) return;
  T* const row = c + index / packs * ldc;
  const int64_t first = index % packs * kRectified, end = min(first + kRectified, columns);
  for (int64_t i = first; i < end; ++i)
    if (as_float(row[i]) < 0.0f) row[i] = as_storage<T>(0.0f);
}

__global__ void __launch_bounds__(kThreads)
    round_rows(const float* from, int64_t rows, int64_t columns, bf16* c, int64_t ldc, bool accumulate) {
  const int64_t index = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (index >= rows * columns) return;
  bf16& to = c[index / columns * ldc + index % columns];
  to = as_storage<bf16>((accumulate ? as_float(to) : 0.0f) + from[index]);
}

}  // namespace

void sum_terms(const MatMul& args, Queue& queue) {
  if (args.transpose_a && args.lda == args.m)
    return run(ColumnSum{.dtype = args.dtype,
                         .x = args.a,
                         .sum = args.a_sum,
                         .rows = args.k,
                         .columns = static_cast<int>(args.m),
                         .accumulate = args.accumulate},
               queue);
  with_storage(args.dtype, args.name, [&]<typename T>(Storage<T>) {
    launch(queue, {.name = args.name, .grid = {ceil_div(args.m, kWarps)}, .block = {kThreads}}, sum_rows<T>,
           static_cast<const T*>(args.a), args.m, args.k, args.transpose_a ? 1 : args.lda,
           args.transpose_a ? args.lda : 1, args.a_sum, args.accumulate);
  });
}

void set_to_bias(const MatMul& args, Queue& queue) {
  with_storage(args.c_dtype, args.name, [&]<typename T>(Storage<T>) {
    launch(queue, {.name = args.name, .grid = {ceil_div(args.m * args.n, kThreads)}, .block = {kThreads}},
           set_rows<T>, static_cast<const T*>(args.bias), static_cast<const T*>(args.addend), args.m, args.n,
           static_cast<T*>(args.c), args.ldc, args.accumulate);
  });
}

void apply_relu(const MatMul& args, Queue& queue) {
  with_storage(args.c_dtype, args.name, [&]<typename T>(Storage<T>) {
    const int64_t packs = ceil_div(args.n, kRectified);
    launch(queue, {.name = args.name, .grid = {ceil_div(args.m * packs, kThreads)}, .block = {kThreads}},
           rectify_rows<T>, static_cast<T*>(args.c), args.m, args.n, args.ldc, packs);
  });
}

void apply_gate(const MatMul& args, Queue& queue) {
  const ReluBackward pass{
      .dtype = args.c_dtype, .y = args.gate, .dy = args.c, .dx = args.c, .elements = args.m * args.n};
  run(pass, queue);
}

void round_product(const float* from, const MatMul& args, Queue& queue) {
  launch(queue, {.name = args.name, .grid = {ceil_div(args.m * args.n, kThreads)}, .block = {kThreads}},
         round_rows, from, args.m, args.n, static_cast<bf16*>(args.c), args.ldc, args.accumulate);
}

}  // namespace scrawl::SCRAWL_GPU
