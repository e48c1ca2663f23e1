// Products of bf16 with ReLU, c = max(a · bᵀ + bias + addend, 0), or with its gradient, c = a · b where the
// gate is positive, on the tensor cores of compute capability 9.0: by blocks that hold rows of panels of
// columns (row_product.cuh).  A library's ReLU makes 0 of NaN, which must show, and its gradient of ReLU
// wants a mask of bits that somebody would have to write.
// Cost: bound by memory.  Limits: those of row_product.cuh.
#include "kernels/cuda/matmul/parts.h"
#include "kernels/cuda/matmul/row_lanes.cuh"

namespace scrawl::SCRAWL_GPU {

namespace {

struct RowEpilogue {
  const bf16 *bias, *addend;  // or null; of the first form
  const bf16* gate;           // of the second
  bf16* c;
  int rows, columns;
};

/// The first form has b along k, the second along mn.
template <Major of_b, int groups, int columns>
__global__ void __launch_bounds__(groups* kWarpgroupThreads, kRowBlocksAtOnce<columns>)
    multiply_panel(const __grid_constant__ RowProduct product, RowEpilogue epilogue) {
  constexpr int packs = columns / kBlockColumns;
  constexpr bool gated = of_b == Major::mn;
  const int stride = epilogue.columns, panels = stride / columns, block = static_cast<int>(blockIdx.x);
  const int first = block / panels * groups * kProductRows, first_column = block % panels * columns;
  const LaneRow rows[2] = {{first, 0, epilogue.rows, first_column}, {first, 1, epilogue.rows, first_column}};
  const bf16* const bias = !gated && epilogue.bias ? epilogue.bias + first_column : nullptr;
  ProductRows<columns> results;
  Stored others[2][packs] = {};  // of the gate, or of the addend
  compute_rows<of_b, groups, columns>(results, product, first, first_column, bias != nullptr, [&] {
    const bf16* const map = gated ? epilogue.gate : epilogue.addend;
#pragma unroll
    for (int half = 0; half < 2; ++half)
      if (gated || map) load_row<columns>(others[half], map, rows[half], stride);
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
      for (int j = 0; j < kWidth; ++j) {
        const float other = value_of(others[half][i], j);
        if constexpr (gated)
          values[j] = other > 0.0f ? values[j] : 0.0f;
        else
          values[j] = values[j] + other < 0.0f ? 0.0f : values[j] + other;  // NaN is not less
      }
      row[i] = rounded(values);
    }
    if (rows[half].exists) store_row<columns>(epilogue.c, rows[half], row, stride);
  }
}

}  // namespace

bool is_of_rows(const MatMul& args) {
  const bool rectified = args.relu && args.transpose_b && !args.accumulate && !args.gate;
  const bool gated = args.gate && !args.transpose_b;
  return (rectified || gated) && fits_row_product(args);
}

void multiply_rows(const MatMul& args, Queue& queue) {
  const RowEpilogue epilogue{.bias = static_cast<const bf16*>(args.bias),
                             .addend = static_cast<const bf16*>(args.addend),
                             .gate = static_cast<const bf16*>(args.gate),
                             .c = static_cast<bf16*>(args.c),
                             .rows = static_cast<int>(args.m),
                             .columns = static_cast<int>(args.n)};
  const auto start = [&]<Major of_b>() {
    const RowProduct product = row_product<of_b>(args);
    with_row_blocks(args, queue, [&]<int groups, int columns> {
      launch(queue, row_blocks<groups, columns>(args.name, args), multiply_panel<of_b, groups, columns>,
             product, epilogue);
    });
  };
  args.gate ? start.operator()<Major::mn>() : start.operator()<Major::k>();
}

}  // namespace scrawl::SCRAWL_GPU
