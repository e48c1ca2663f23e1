// A linear layer with residual sum and layer norm, and a linear layer's input gradient with the gradients of
// both, on the tensor cores of compute capability 9.0.  A block has whole rows of the product in registers
// (row_product.cuh) and goes on from there, as layer_norm.cu and layer_norm_backward.cu do from memory: the
// product is neither written nor read again, and a launch is saved.
// Of a row, four lanes hold eight neighbouring channels in every 32, so that maps are read and written by 16
// bytes; for that the product, rounded as if it were stored, changes places among the four.
// Cost: bound by memory.  Blocks have one warpgroup where rows are few, two where b would be read too often.
// Limits: 64 or 128 channels in bf16, since a warpgroup's registers hold rows of no more; frozen norms.
#include "kernels/cuda/linear_norm_wgmma.cuh"

#include "kernels/cuda/device/elementwise.cuh"
#include "kernels/cuda/device/fragments.cuh"
#include "kernels/cuda/layer_norm_rows.cuh"
#include "kernels/cuda/row_product.cuh"

namespace scrawl::SCRAWL_GPU {

namespace {

constexpr int kQuad = 4, kWidth = 8;            // lanes of a row, channels of a pack
constexpr int kBlockChannels = kQuad * kWidth;  // packs of a row's lanes, side by side
using Values = Floats<kWidth>;

/// A pack of bf16 as words: kept as half words, nvcc would take it to pieces.
using Stored = Pack<unsigned, kWidth / 2>;
__device__ __forceinline__ float value_of(const Stored& pack, int i) {
  return i % 2 == 0 ? low_bf16(pack[i / 2]) : high_bf16(pack[i / 2]);
}
__device__ __forceinline__ Values values_of(const Stored& pack) {
  return to_floats(std::bit_cast<Pack<bf16, kWidth>>(pack));
}
__device__ __forceinline__ Stored rounded(const Values& values) {
  return std::bit_cast<Stored>(to_pack<bf16>(values));
}
__device__ __forceinline__ void store_pack(void* map, int at, const Stored& pack) {
  scrawl::SCRAWL_GPU::store_pack(reinterpret_cast<unsigned*>(static_cast<bf16*>(map) + at), pack);
}

/// One of a lane's two rows.
struct LaneRow {
  int row;      // the last for those beyond it, whose results are not stored
  int channel;  // of the lane's first pack
  bool exists;
  __device__ LaneRow(int first, int half, int rows) {
    const int wanted = first + warp_index() * 16 + half * 8 + lane_index() / kQuad;
    row = min(wanted, rows - 1);
    channel = lane_index() % kQuad * kWidth;
    exists = wanted < rows;
  }
  template <int channels>
  __device__ int at(int pack) const {
    return row * channels + pack * kBlockChannels + channel;
  }
};

/// This lane's packs of a row of `map`.
template <int channels>
__device__ __forceinline__ void load_row(Stored (&packs)[channels / kBlockChannels], const void* map,
                                         const LaneRow& row) {
#pragma unroll
  for (int i = 0; i < channels / kBlockChannels; ++i)
    packs[i] = load_pack<kWidth / 2>(
        reinterpret_cast<const unsigned*>(static_cast<const bf16*>(map) + row.at<channels>(i)));
}

/// A lane's packs of one of its rows of a product, as they would be stored.
template <int channels>
__device__ __forceinline__ void product_row(Stored (&packs)[channels / kBlockChannels],
                                            const ProductRows<channels>& product, int half) {
#pragma unroll
  for (int i = 0; i < channels / kBlockChannels; ++i) {
#pragma unroll
    for (int j = 0; j < kQuad; ++j) {
      const float* pair = &product[i / 2][i % 2 * 4 + j].values[2 * half];
      packs[i][j] = pack_bf16(pair[0], pair[1]);
    }
    transpose_in_quad(packs[i]);
  }
}

/// Sets the results of a lane's two rows to what begins at these rows of bf16.
template <int channels>
__device__ __forceinline__ void set_to_rows(ProductRows<channels>& results, const bf16* upper,
                                            const bf16* lower) {
#pragma unroll
  for (int j = 0; j < channels / 8; ++j) {
    const int channel = 8 * j + FragmentD::column(0);
    const auto above = load<2>(upper + channel), below = load<2>(lower + channel);
    results[j / 8][j % 8] = {above[0], above[1], below[0], below[1]};
  }
}

/// Mean and 1/σ of a row whose packs four lanes share; two passes, as in normalise().
template <int channels>
__device__ __forceinline__ Floats<2> moments(const Stored (&row)[channels / kBlockChannels], float eps) {
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
__global__ void __launch_bounds__(groups* kWarpgroupThreads, groups == 1 ? 3 : 2)
    normalise_product(const __grid_constant__ ForwardArguments args) {
  constexpr int packs = channels / kBlockChannels;
  const ResidualNormForward& norm = args.norm;
  const int first = static_cast<int>(blockIdx.x) * groups * kProductRows;
  const int rows = static_cast<int>(norm.images * norm.rows);
  const LaneRow lane_rows[2] = {{first, 0, rows}, {first, 1, rows}};
  ProductRows<channels> branch;
  Stored x[2][packs];
  compute_rows<Major::k, groups, channels>(branch, args.product, first, args.bias != nullptr, [&] {
#pragma unroll
    for (int half = 0; half < 2; ++half) load_row<channels>(x[half], norm.x, lane_rows[half]);
    if (args.bias) set_to_rows<channels>(branch, args.bias, args.bias);
  });
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const LaneRow& row = lane_rows[half];
    const float scale = norm.drop_path.scale(row.row / static_cast<int>(norm.rows));
    Stored sum[packs];
    product_row<channels>(sum, branch, half);
#pragma unroll
    for (int i = 0; i < packs; ++i) {
      Values values = values_of(x[half][i]);
#pragma unroll
      for (int j = 0; j < kWidth; ++j) values[j] += scale * value_of(sum[i], j);
      sum[i] = rounded(values);
      if (row.exists) store_pack(norm.sum, row.at<channels>(i), sum[i]);
    }
    const auto [mean, rstd] = moments<channels>(sum, norm.eps).values;
#pragma unroll
    for (int i = 0; i < packs; ++i) {
      const int channel = i * kBlockChannels + row.channel;
      const auto y = normed(values_of(sum[i]), mean, rstd, load<kWidth>(norm.gamma + channel),
                            load<kWidth>(norm.beta + channel));
      if (row.exists) store_pack(norm.y, row.at<channels>(i), rounded(y));
    }
    if (!row.exists || lane_index() % kQuad > 0) continue;
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

/// Gradients of one of a lane's rows.
template <int channels>
__device__ __forceinline__ void differentiate_row(const ResidualNormBackward& norm, const LaneRow& row,
                                                  Stored (&dy)[channels / kBlockChannels]) {
  constexpr int packs = channels / kBlockChannels;
  constexpr float kShare = 1.0f / channels;
  Stored x[packs], dsum[packs];
  load_row<channels>(x, norm.sum, row);
  load_row<channels>(dsum, norm.dsum, row);
  const float mean = norm.mean[row.row], rstd = norm.rstd[row.row];
  Floats<2> totals{};  // Σ g and Σ g · (x − mean), with g = dy · gamma
#pragma unroll
  for (int i = 0; i < packs; ++i) {
    const auto slopes = load<kWidth>(norm.gamma + i * kBlockChannels + row.channel);
#pragma unroll
    for (int j = 0; j < kWidth; ++j) {
      const float g = value_of(dy[i], j) * slopes[j];
      totals[0] += g;
      totals[1] += g * (value_of(x[i], j) - mean);
    }
  }
  totals = warp_sums_of(kQuad, totals);
  const float mean_g = totals[0] * kShare, slope = totals[1] * rstd * rstd * kShare;
  const float scale = norm.dbranch ? norm.drop_path.scale(row.row / static_cast<int>(norm.rows)) : 1.0f;
#pragma unroll
  for (int i = 0; i < packs; ++i) {
    const int channel = i * kBlockChannels + row.channel;
    const int at = row.at<channels>(i);
    forget_floats(x[i]);
    forget_floats(dy[i]);
    const auto slopes = load<kWidth>(norm.gamma + channel);
    const Values inputs = values_of(x[i]);
    Values result = values_of(dsum[i]);
#pragma unroll
    for (int j = 0; j < kWidth; ++j)
      result[j] += rstd * (value_of(dy[i], j) * slopes[j] - mean_g - (inputs[j] - mean) * slope);
    if (!row.exists) continue;
    if (norm.dx) store_pack(norm.dx, at, rounded(result));
    if (norm.y)
      store_pack(norm.y, at, rounded(normed(inputs, mean, rstd, slopes, load<kWidth>(norm.beta + channel))));
    if (!norm.dbranch) continue;
#pragma unroll
    for (int j = 0; j < kWidth; ++j) result[j] *= scale;
    store_pack(norm.dbranch, at, rounded(result));
  }
}

template <int groups, int channels>
__global__ void __launch_bounds__(groups* kWarpgroupThreads, groups == 1 ? 3 : 2)
    differentiate_product(const __grid_constant__ BackwardArguments args) {
  const int first = static_cast<int>(blockIdx.x) * groups * kProductRows;
  const int rows = static_cast<int>(args.norm.images * args.norm.rows);
  const LaneRow lane_rows[2] = {{first, 0, rows}, {first, 1, rows}};
  ProductRows<channels> dy;
  compute_rows<Major::mn, groups, channels>(dy, args.product, first, args.addend != nullptr, [&] {
    if (args.addend)
      set_to_rows<channels>(dy, args.addend + lane_rows[0].row * channels,
                            args.addend + lane_rows[1].row * channels);
  });
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    Stored packs[channels / kBlockChannels];
    product_row<channels>(packs, dy, half);
    differentiate_row<channels>(args.norm, lane_rows[half], packs);
  }
}

// --- both -------------------------------------------------------------------------------------------------

/// Whether a product's rows are those of a norm of 64 or 128 channels, all of them packs of bf16.
bool fits(const MatMul& product, DType dtype, int channels, std::initializer_list<const void*> pointers) {
  constexpr int64_t kMostValues = int64_t{1} << 31;  // that int can count
  return dtype == DType::bf16 && product.dtype == DType::bf16 && product.c_dtype == DType::bf16 &&
         (channels == 64 || channels == 128) && product.m > 0 && product.m * channels < kMostValues &&
         product.k > 0 && product.lda % 8 == 0 && product.ldb % 8 == 0 && !product.transpose_a &&
         !product.a_sum && packable(8, {product.a, product.b, product.bias, product.addend}) == 8 &&
         packable(8, pointers) == 8;
}

template <typename Arguments>
void launch_rows(std::string_view name, int64_t rows, auto kernel, int64_t shared_bytes, int groups,
                 const Arguments& args, Queue& queue) {
  launch(queue,
         {.name = name,
          .grid = {ceil_div(rows, groups * kProductRows)},
          .block = {groups * kWarpgroupThreads},
          .shared_bytes = shared_bytes},
         kernel, args);
}

/// Calls body<groups, channels>() for the blocks that fit so many rows.
template <typename Body>
void with_blocks(int64_t rows, int channels, Body body) {
  constexpr int64_t kMultiprocessors = 132;
  const bool many = rows > 2 * kProductRows * kMultiprocessors / 2;
  if (channels == 64)
    many ? body.template operator()<2, 64>() : body.template operator()<1, 64>();
  else
    many ? body.template operator()<2, 128>() : body.template operator()<1, 128>();
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
         !norm.dgamma && norm.dsum &&
         fits(args.product, norm.dtype, norm.channels,
              {norm.sum, norm.gamma, norm.beta, norm.dsum, norm.dy, norm.y, norm.dx, norm.dbranch});
}

void run_by_rows(const LinearNormForward& args, Queue& queue) {
  const ForwardArguments arguments{row_product<Major::k>(args.linear),
                                   static_cast<const bf16*>(args.linear.bias), args.norm};
  with_blocks(args.linear.m, args.norm.channels, [&]<int groups, int channels> {
    launch_rows(args.name, args.linear.m, normalise_product<groups, channels>,
                sizeof(RowProductShared<groups, channels>), groups, arguments, queue);
  });
}

void run_by_rows(const LinearNormBackward& args, Queue& queue) {
  check_results(args.name, args.norm);
  const MatMul& product = args.product;
  const BackwardArguments arguments{row_product<Major::mn>(product),
                                    static_cast<const bf16*>(product.accumulate ? product.c : product.addend),
                                    args.norm};
  with_blocks(args.product.m, args.norm.channels, [&]<int groups, int channels> {
    launch_rows(args.name, args.product.m, differentiate_product<groups, channels>,
                sizeof(RowProductShared<groups, channels>), groups, arguments, queue);
  });
}

}  // namespace scrawl::SCRAWL_GPU
