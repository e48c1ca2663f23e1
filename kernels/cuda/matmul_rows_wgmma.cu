// Products of bf16 with ReLU, c = max(a · bᵀ + bias, 0), or with its gradient, c = a · b where the gate is
// positive, on the tensor cores of compute capability 9.0: by blocks that hold whole rows (row_product.cuh).
// A library's ReLU may swallow NaN, which must show, and its gradient of ReLU wants a mask of bits that
// somebody would have to write.
// Cost: bound by memory.  Limits: those of row_product.cuh.
#include "kernels/cuda/matmul_parts.h"
#include "kernels/cuda/row_lanes.cuh"

namespace scrawl::SCRAWL_GPU {

namespace {

struct RowEpilogue {
  const bf16* bias;  // or null; of the first form
  const bf16* gate;  // of the second
  bf16* c;
  int rows;
};

/// The first form has b along k, the second along mn.
template <Major of_b, int groups, int columns>
__global__ void __launch_bounds__(groups* kWarpgroupThreads, groups == 1 ? 3 : 2)
    multiply_rows_of(const __grid_constant__ RowProduct product, RowEpilogue epilogue) {
  constexpr int packs = columns / kBlockColumns;
  constexpr bool gated = of_b == Major::mn;
  const int first = static_cast<int>(blockIdx.x) * groups * kProductRows;
  const LaneRow rows[2] = {{first, 0, epilogue.rows}, {first, 1, epilogue.rows}};
  ProductRows<columns> results;
  Stored gates[2][packs];
  compute_rows<of_b, groups, columns>(results, product, first, !gated && epilogue.bias, [&] {
    if constexpr (gated) {
#pragma unroll
      for (int half = 0; half < 2; ++half) load_row<columns>(gates[half], epilogue.gate, rows[half]);
    } else if (epilogue.bias) {
      set_to_rows<columns>(results, epilogue.bias, epilogue.bias);
    }
  });
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    Stored row[packs];
    product_row<columns>(row, results, half);
#pragma unroll
    for (int i = 0; i < packs; ++i) {
      Values values = values_of(row[i]);
#pragma unroll
      for (int j = 0; j < kWidth; ++j)
        values[j] = gated ? (value_of(gates[half][i], j) > 0.0f ? values[j] : 0.0f)
                          : (values[j] < 0.0f ? 0.0f : values[j]);  // NaN is not less
      if (rows[half].exists) store_pack(epilogue.c, rows[half].template at<columns>(i), rounded(values));
    }
  }
}

}  // namespace

bool is_of_rows(const MatMul& args) {
  const bool rectified = args.relu && args.transpose_b && !args.accumulate && !args.addend && !args.gate;
  const bool gated = args.gate && !args.transpose_b;
  return (rectified || gated) && fits_row_product(args);
}

void multiply_rows(const MatMul& args, Queue& queue) {
  const RowEpilogue epilogue{.bias = static_cast<const bf16*>(args.bias),
                             .gate = static_cast<const bf16*>(args.gate),
                             .c = static_cast<bf16*>(args.c),
                             .rows = static_cast<int>(args.m)};
  const auto start = [&]<Major of_b>() {
    const RowProduct product = row_product<of_b>(args);
    with_row_blocks(args, queue, [&]<int groups, int columns> {
      launch(queue, row_blocks<groups, columns>(args.name, args), multiply_rows_of<of_b, groups, columns>,
             product, epilogue);
    });
  };
  args.gate ? start.operator()<Major::mn>() : start.operator()<Major::k>();
}

}  // namespace scrawl::SCRAWL_GPU
