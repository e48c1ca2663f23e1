// A linear layer with residual sum and layer norm, and a linear layer's input gradient with the gradients of
// both, on the tensor cores of compute capability 9.0.  A block has whole rows of the product in registers
// (matmul/row_product.cuh) and goes on from there, as layer_norm.cu and layer_norm_backward.cu do from
// memory: the product is neither written nor read again, and a launch is saved.
// Cost: bound by memory.  Limits: those of matmul/row_product.cuh, and norms must be frozen.
#include "kernels/cuda/norm/linear_norm_wgmma.cuh"

#include "kernels/cuda/device/elementwise.cuh"
#include "kernels/cuda/matmul/row_lanes.cuh"
#include "kernels/cuda/norm/rows.cuh"

namespace scrawl::SCRAWL_GPU {

namespace {

__device__ __forceinline__ float scale_of(const DropPath& drop_path, const LaneRow& row, int64_t rows) {
  return drop_path.scale(row.row / static_cast<int>(rows));
}

/// Mean and 1/σ of a row whose packs four lanes share; two passes, as in normalise().
template <int channels>
__device__ __forceinline__ Floats<2> moments(const Stored (&row)[channels / kBlockColumns], float eps) {
  constexpr float kShare = 1.0f / channels;
  Floats<1> about{};
#pragma unroll
  for (const Stored& pack : row)
#pragma unroll
    for (int i = 0; i < kWidth; ++i) about[0] += value_of(pack, i);
  about = warp_sums_of(kQuad, about);
  about[0] *= kShare;
  Floats<2> distances{};
#pragma unroll
  for (const Stored& pack : row)
#pragma unroll
    for (int i = 0; i < kWidth; ++i) {
      const float distance = value_of(pack, i) - about[0];
      distances[0] += distance;
      distances[1] += distance * distance;
    }
  distances = warp_sums_of(kQuad, distances);
  const float shift = distances[0] * kShare;
  return {about[0] + shift, inverse_root<bf16>(max(distances[1] * kShare - shift * shift, 0.0f) + eps)};
}

// --- forward ----------------------------------------------------------------------------------------------

struct ForwardArguments {
  RowProduct product;
  const bf16* bias;
  ResidualNormForward norm;
};

template <int groups, int channels>
__global__ void __launch_bounds__(groups* kWarpgroupThreads, kRowBlocksAtOnce<channels>)
    normalise_product(const __grid_constant__ ForwardArguments args) {
  constexpr int packs = channels / kBlockColumns;
  const ResidualNormForward& norm = args.norm;
  const int first = static_cast<int>(blockIdx.x) * groups * kProductRows;
  const int rows = static_cast<int>(norm.images * norm.rows);
  const LaneRow lane_rows[2] = {{first, 0, rows}, {first, 1, rows}};
  ProductRows<channels> branch;
  Stored x[2][packs];
  float scales[2];
  compute_rows<Major::k, groups, channels>(branch, args.product, first, 0, args.bias != nullptr, [&] {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      load_row<channels>(x[half], norm.x, lane_rows[half]);
      scales[half] = scale_of(norm.drop_path, lane_rows[half], norm.rows);
    }
    if (args.bias) set_to_rows<channels>(branch, args.bias, args.bias);
  });
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const LaneRow& row = lane_rows[half];
    Stored sum[packs], y[packs];
    product_row<channels>(sum, branch, half);
#pragma unroll
    for (int i = 0; i < packs; ++i) {
      Values values = values_of(x[half][i]);
#pragma unroll
      for (int j = 0; j < kWidth; ++j) values[j] += scales[half] * value_of(sum[i], j);
      sum[i] = rounded(values);
    }
    const auto [mean, rstd] = moments<channels>(sum, norm.eps).values;
#pragma unroll
    for (int i = 0; i < packs; ++i) {
      const int channel = i * kBlockColumns + row.column;
      y[i] = rounded(normed(values_of(sum[i]), mean, rstd, load<kWidth>(norm.gamma + channel),
                            load<kWidth>(norm.beta + channel)));
    }
    if (!row.exists) continue;
    store_row<channels>(norm.sum, row, sum);
    store_row<channels>(norm.y, row, y);
    if (lane_index() % kQuad > 0) continue;
    norm.mean[row.row] = mean;
    norm.rstd[row.row] = rstd;
  }
}

// --- backward ---------------------------------------------------------------------------------------------

struct BackwardArguments {
  RowProduct product;
  const bf16* addend;  // of dy beside the product, or null
  ResidualNormBackward norm;
};

/// Gradients of one of a lane's rows; `adds`: to dsum.  What is stored is stored last: the compiler has to
/// suppose that gamma and beta lie there, too.
template <int channels, bool adds>
__device__ __forceinline__ void differentiate_row(const ResidualNormBackward& norm, const LaneRow& row,
                                                  float scale, Stored (&dy)[channels / kBlockColumns]) {
  constexpr int packs = channels / kBlockColumns;
  constexpr float kShare = 1.0f / channels;
  Stored x[packs], dsum[packs] = {};
  load_row<channels>(x, norm.sum, row);
  if constexpr (adds) load_row<channels>(dsum, norm.dsum, row);
  const float mean = norm.mean[row.row], rstd = norm.rstd[row.row];
  Floats<2> totals{};  // Σ g and Σ g · (x − mean), with g = dy · gamma
#pragma unroll
  for (int i = 0; i < packs; ++i) {
    const auto slopes = load<kWidth>(norm.gamma + i * kBlockColumns + row.column);
#pragma unroll
    for (int j = 0; j < kWidth; ++j) {
      const float g = value_of(dy[i], j) * slopes[j];
      totals[0] += g;
      totals[1] += g * (value_of(x[i], j) - mean);
    }
  }
  totals = warp_sums_of(kQuad, totals);
  const float mean_g = totals[0] * kShare, slope = totals[1] * rstd * rstd * kShare;
#pragma unroll
  for (int i = 0; i < packs; ++i) {
    const int channel = i * kBlockColumns + row.column;
    forget_floats(x[i]);
    forget_floats(dy[i]);
    const auto slopes = load<kWidth>(norm.gamma + channel);
    const Values inputs = values_of(x[i]);
    Values result = values_of(dsum[i]);
#pragma unroll
    for (int j = 0; j < kWidth; ++j)
      result[j] += rstd * (value_of(dy[i], j) * slopes[j] - mean_g - (inputs[j] - mean) * slope);
    if (norm.y) x[i] = rounded(normed(inputs, mean, rstd, slopes, load<kWidth>(norm.beta + channel)));
    dsum[i] = rounded(result);
#pragma unroll
    for (int j = 0; j < kWidth; ++j) result[j] *= scale;
    dy[i] = rounded(result);
  }
  if (!row.exists) return;
  if (norm.dx) store_row<channels>(norm.dx, row, dsum);
  if (norm.y) store_row<channels>(norm.y, row, x);
  if (norm.dbranch) store_row<channels>(norm.dbranch, row, dy);
}

template <int groups, int channels, bool adds>
__global__ void __launch_bounds__(groups* kWarpgroupThreads, kRowBlocksAtOnce<channels>)
    differentiate_product(const __grid_constant__ BackwardArguments args) {
  const int first = static_cast<int>(blockIdx.x) * groups * kProductRows;
  const int rows = static_cast<int>(args.norm.images * args.norm.rows);
  const LaneRow lane_rows[2] = {{first, 0, rows}, {first, 1, rows}};
  ProductRows<channels> dy;
  float scales[2];
  compute_rows<Major::mn, groups, channels>(dy, args.product, first, 0, args.addend != nullptr, [&] {
#pragma unroll
    for (int half = 0; half < 2; ++half)
      scales[half] = scale_of(args.norm.drop_path, lane_rows[half], args.norm.rows);
    if (args.addend)
      set_to_rows<channels>(dy, args.addend + lane_rows[0].row * channels,
                            args.addend + lane_rows[1].row * channels);
  });
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    Stored packs[channels / kBlockColumns];
    product_row<channels>(packs, dy, half);
    differentiate_row<channels, adds>(args.norm, lane_rows[half], scales[half], packs);
  }
}

// --- both -------------------------------------------------------------------------------------------------

bool fits(const MatMul& product, DType dtype, int channels, std::initializer_list<const void*> pointers) {
  return fits_row_product(product) && product.n == panel_of(product) && product.n == channels &&
         dtype == DType::bf16 && packable(8, pointers) == 8;
}

}  // namespace

bool fits_rows(const LinearNormForward& args) {
  const ResidualNormForward& norm = args.norm;
  return args.linear.transpose_b && !args.linear.accumulate && !args.linear.has_epilogue() &&
         fits(args.linear, norm.dtype, norm.channels, {norm.x, norm.gamma, norm.beta, norm.sum, norm.y});
}

bool fits_rows(const LinearNormBackward& args) {
  const ResidualNormBackward& norm = args.norm;
  return !args.product.transpose_b && !args.product.bias && !args.product.relu && !args.product.gate &&
         !norm.dgamma &&
         fits(args.product, norm.dtype, norm.channels,
              {norm.sum, norm.gamma, norm.beta, norm.dsum, norm.dy, norm.y, norm.dx, norm.dbranch});
}

void run_by_rows(const LinearNormForward& args, Queue& queue) {
  const ForwardArguments arguments{row_product<Major::k>(args.linear),
                                   static_cast<const bf16*>(args.linear.bias), args.norm};
  with_row_blocks(args.linear, queue, [&]<int groups, int channels> {
    launch(queue, row_blocks<groups, channels>(args.name, args.linear), normalise_product<groups, channels>,
           arguments);
  });
}

void run_by_rows(const LinearNormBackward& args, Queue& queue) {
  check_results(args.name, args.norm);
  const MatMul& product = args.product;
  const BackwardArguments arguments{row_product<Major::mn>(product),
                                    static_cast<const bf16*>(product.accumulate ? product.c : product.addend),
                                    args.norm};
  with_row_blocks(product, queue, [&]<int groups, int channels> {
    const auto kernel = args.norm.dsum ? differentiate_product<groups, channels, true>
                                       : differentiate_product<groups, channels, false>;
    launch(queue, row_blocks<groups, channels>(args.name, product), kernel, arguments);
  });
}

}  // namespace scrawl::SCRAWL_GPU
