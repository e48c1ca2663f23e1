// Products of bf16 with what a library lacks, on the tensor cores of compute capability 9.0: by blocks that
// hold rows of panels of columns (row_product.cuh).
//   rectified: c = max(a · bᵀ + bias + addend, 0); a library's ReLU makes 0 of NaN, which must show
//   gated:     c = a · b where the gate is positive; a library wants a mask of bits that somebody would have
//              to write
//   summed:    c += a · b + addend; a library adds one of the two
// Cost: bound by memory.  Limits: those of row_product.cuh.
#include "kernels/cuda/matmul/parts.h"
#include "kernels/cuda/matmul/row_lanes.cuh"

namespace scrawl::SCRAWL_GPU {

namespace {

enum class Form { rectified, gated, summed };

/// How b is stored.
template <Form form>
inline constexpr Major kOfB = form == Form::rectified ? Major::k : Major::mn;

struct RowEpilogue {
  const bf16* bias;  // or null
  const bf16* map;   // the addend, null if there is none, or the gate
  bf16* c;
  int rows, columns;
};

/// What becomes of a value of the product and one of the map beside it.
template <Form form>
__device__ __forceinline__ float finished(float value, float beside) {
  if constexpr (form == Form::gated) return beside > 0.0f ? value : 0.0f;
  const float sum = value + beside;
  if constexpr (form == Form::summed) return sum;
  return sum < 0.0f ? 0.0f : sum;  // NaN is not less
}

template <Form form, int groups, int columns>
__global__ void __launch_bounds__(groups* kWarpgroupThreads, kRowBlocksAtOnce<columns>)
    multiply_panel(const __grid_constant__ RowProduct product, RowEpilogue epilogue) {
  constexpr int packs = columns / kBlockColumns;
  const int stride = epilogue.columns, panels = stride / columns, block = static_cast<int>(blockIdx.x);
  const int first = block / panels * groups * kProductRows, first_column = block % panels * columns;
  const LaneRow rows[2] = {{first, 0, epilogue.rows, first_column}, {first, 1, epilogue.rows, first_column}};
  const bf16* const bias = form == Form::rectified && epilogue.bias ? epilogue.bias + first_column : nullptr;
  const bool begins_with_values = form == Form::summed || bias;
  ProductRows<columns> results;
  Stored beside[2][packs] = {};
  compute_rows<kOfB<form>, groups, columns>(results, product, first, first_column, begins_with_values, [&] {
#pragma unroll
    for (int half = 0; half < 2; ++half)
      if (form != Form::rectified || epilogue.map)
        load_row<columns>(beside[half], epilogue.map, rows[half], stride);
    if constexpr (form == Form::summed) {
      const bf16* const c = epilogue.c + first_column;
      set_to_rows<columns>(results, c + rows[0].row * stride, c + rows[1].row * stride);
    }
    if (bias) set_to_rows<columns>(results, bias, bias);
  });
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    Stored row[packs];
    product_row<columns>(row, results, half);
#pragma unroll
    for (int i = 0; i < packs; ++i) {
      Values values = values_of(row[i]);
#pragma unroll
      for (int j = 0; j < kWidth; ++j) values[j] = finished<form>(values[j], value_of(beside[half][i], j));
      row[i] = rounded(values);
    }
    if (rows[half].exists) store_row<columns>(epilogue.c, rows[half], row, stride);
  }
}

}  // namespace

bool is_of_rows(const MatMul& args) {
  const bool rectified = args.relu && args.transpose_b;
  const bool summed = args.accumulate && args.addend && !args.transpose_b && !args.bias;
  const bool gated = args.gate && !args.transpose_b;
  return (rectified || gated || summed) && fits_row_product(args);
}

void multiply_rows(const MatMul& args, Queue& queue) {
  const RowEpilogue epilogue{.bias = static_cast<const bf16*>(args.bias),
                             .map = static_cast<const bf16*>(args.gate ? args.gate : args.addend),
                             .c = static_cast<bf16*>(args.c),
                             .rows = static_cast<int>(args.m),
                             .columns = static_cast<int>(args.n)};
  const auto start = [&]<Form form>() {
    const RowProduct product = row_product<kOfB<form>>(args);
    with_row_blocks(args, queue, [&]<int groups, int columns> {
      launch(queue, row_blocks<groups, columns>(args.name, args), multiply_panel<form, groups, columns>,
             product, epilogue);
    });
  };
  if (args.relu) return start.operator()<Form::rectified>();
  args.gate ? start.operator()<Form::gated>() : start.operator()<Form::summed>();
}

}  // namespace scrawl::SCRAWL_GPU
