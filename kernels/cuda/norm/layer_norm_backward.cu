// Gradients of layer norm, alone or after a residual sum; alone it is one without a branch.  Rows are shared
// as in the forward pass.  When dgamma and dbeta are wanted, each block walks over the rows of one part and
// keeps its share of them in registers, too, so that all gradients take one reading; partial sums are added
// in a second launch, in fixed order.
// Cost: that of rows.cuh.
// Limits: its, too; rows that are read value by value take a launch of their own for dgamma and dbeta.
#include "kernels/layer_norm.h"

#include "kernels/cuda/norm/rows.cuh"

namespace scrawl::SCRAWL_GPU {

namespace {

/// dx and dbranch for the rows of one part of an image; with `learns` sums [parts, 2, channels] receives the
/// part's dgamma and dbeta, and with `again` y what the forward pass has yielded.
template <typename T, typename L, bool learns, bool again>
__global__ void __launch_bounds__(L::kThreads, kBlocksAtOnce<L, learns>)
    gradients_of_part(ResidualNormBackward args, float share, float* sums, unsigned parts_per_image,
                      int64_t rows_per_part) {
  constexpr int rows = L::kRowsAtOnce, width = L::width, kept = L::held > 0 ? L::held : 1;
  const int channels = args.channels;
  const unsigned image = blockIdx.x / parts_per_image, part = blockIdx.x % parts_per_image;
  const int64_t first = part * rows_per_part, end = min(args.rows, first + rows_per_part);

  RowShare<float, L> gamma;
  gamma.open(args.gamma, channels);
  Floats<width> dgamma[kept] = {}, dbeta[kept] = {};
  float scale = 1.0f;
  // All threads take every turn: lanes of a warp that are out of rows still meet in its sums.
  for (int64_t begin = first; begin < end; begin += rows * blockDim.y) {
    RowShare<T, L> x[rows], dy[rows], dsum[rows];
    float mean[rows] = {}, rstd[rows] = {};
    Row row[rows];
#pragma unroll
    for (int r = 0; r < rows; ++r) {
      row[r] = Row(image, args.rows, begin + r * blockDim.y + threadIdx.y, end);
      const int64_t offset = row[r].index * channels;
      dsum[r].open(args.dsum, args.dy, offset, channels);
      dy[r].open(args.dy, args.dsum, offset, channels);
      x[r].open(static_cast<const T*>(args.sum) + offset, channels);
      mean[r] = args.mean[row[r].index];
      rstd[r] = args.rstd[row[r].index];
    }
    if (begin == first && args.dbranch != nullptr) scale = scale_of_block(args.drop_path, image);

    Floats<2 * rows> totals{};  // Σ g and Σ g · (x − mean) of each row, with g = dy · gamma
    for_each_pack<L>(channels, [&](int pack, int channel) {
      const auto slopes = gamma.values(pack, channel);
      Floats<width> offsets;
      if constexpr (again) offsets = load<width>(args.beta + channel);
#pragma unroll
      for (int r = 0; r < rows; ++r) {
        const auto inputs = x[r].values(pack, channel), gradients = dy[r].values(pack, channel);
#pragma unroll
        for (int i = 0; i < width; ++i) {
          const float g = gradients[i] * slopes[i], distance = inputs[i] - mean[r];
          totals[2 * r] += g;
          totals[2 * r + 1] += g * distance;
          if (!learns || !row[r].exists) continue;
          dgamma[pack][i] += gradients[i] * (distance * rstd[r]);
          dbeta[pack][i] += gradients[i];
        }
        if (again && row[r].exists)
          store<width>(row[r].template in<T>(args.y, channels) + channel,
                       normed(inputs, mean[r], rstd[r], slopes, offsets));
      }
    });
    if (args.dx == nullptr && args.dbranch == nullptr) continue;
    totals = row_sums(totals);
    for_each_pack<L>(channels, [&](int pack, int channel) {
      const auto slopes = gamma.values(pack, channel);
#pragma unroll
      for (int r = 0; r < rows; ++r) {
        const auto inputs = x[r].values(pack, channel), gradients = dy[r].values(pack, channel);
        auto result = dsum[r].values(pack, channel);
        const float mean_g = totals[2 * r] * share, slope = totals[2 * r + 1] * rstd[r] * rstd[r] * share;
#pragma unroll
        for (int i = 0; i < width; ++i)
          result[i] += rstd[r] * (gradients[i] * slopes[i] - mean_g - (inputs[i] - mean[r]) * slope);
        if (!row[r].exists) continue;
        if (args.dx != nullptr) store<width>(row[r].template in<T>(args.dx, channels) + channel, result);
        if (args.dbranch == nullptr) continue;
#pragma unroll
        for (int i = 0; i < width; ++i) result[i] *= scale;
        store<width>(row[r].template in<T>(args.dbranch, channels) + channel, result);
      }
    });
  }
  if constexpr (!learns) return;
  float* sums_of_part = sums + blockIdx.x * int64_t{2} * channels;
#pragma unroll
  for (int pack = 0; pack < kept; ++pack) {
    add_over_groups(dgamma[pack]);
    __syncthreads();
    add_over_groups(dbeta[pack]);
    __syncthreads();
    const int channel = (threadIdx.x + pack * blockDim.x) * width;
    if (threadIdx.y > 0 || channel >= channels) continue;
#pragma unroll
    for (int i = 0; i < width; ++i) {
      sums_of_part[channel + i] = dgamma[pack][i];
      sums_of_part[channels + channel + i] = dbeta[pack][i];
    }
  }
}

/// dgamma and dbeta of part blockIdx.x of all rows, for channels of any number.
template <typename T>
__global__ void __launch_bounds__(kColumnThreads)
    parameters_of_part(ResidualNormBackward args, float* sums, int64_t rows_per_part) {
  const int64_t channel = my_column<1>(), channels = args.channels;
  const int64_t first = blockIdx.x * rows_per_part, end = min(args.images * args.rows, first + rows_per_part);
  Floats<2> total{};
  for (int64_t row = first + threadIdx.y; row < end && channel < channels; row += blockDim.y) {
    const int64_t index = row * channels + channel;
    const float dy = as_float(static_cast<const T*>(args.dy)[index]);
    total[0] += dy * ((as_float(static_cast<const T*>(args.sum)[index]) - args.mean[row]) * args.rstd[row]);
    total[1] += dy;
  }
  add_over_groups(total);
  if (threadIdx.y > 0 || channel >= channels) return;
  float* part = sums + blockIdx.x * 2 * channels;
  part[channel] = total[0];
  part[channels + channel] = total[1];
}

/// dgamma and dbeta (+)= Σ over parts.
__global__ void __launch_bounds__(kPartColumns* kPartThreads)
    add_parts(ResidualNormBackward args, const float* sums, int64_t parts) {
  const int64_t columns = 2 * int64_t{args.channels}, column = column_of_parts();
  const double total = sum_of_parts(column < columns ? parts : 0,
                                    [=](int64_t part) { return double{sums[part * columns + column]}; });
  if (threadIdx.y > 0 || column >= columns) return;
  float* target = column < args.channels ? args.dgamma + column : args.dbeta + (column - args.channels);
  *target = (args.accumulate_parameters ? *target : 0.0f) + static_cast<float>(total);
}

template <typename T, typename L, bool learns>
auto gradients_kernel(const ResidualNormBackward& args) {
  return args.y ? gradients_of_part<T, L, learns, true> : gradients_of_part<T, L, learns, false>;
}

void backward(std::string_view name, const ResidualNormBackward& args, Queue& queue) {
  check_results(name, args);
  with_storage(args.dtype, name, [&]<typename T>(Storage<T>) {
    const std::initializer_list<const void*> pointers = {args.sum, args.gamma, args.beta, args.dy,
                                                         args.y,   args.dsum,  args.dx,   args.dbranch};
    with_layout<T>(args.channels, pointers, [&]<typename L>(L, const ColumnBlock& block) {
      const auto launch_gradients = [&](auto kernel, float* sums, int64_t parts, int64_t rows) {
        launch(queue, over_rows(name, block, args.images * parts), kernel, args, 1.0f / args.channels, sums,
               static_cast<unsigned>(parts), rows);
      };
      const auto add = [&](const float* sums, int64_t parts) {
        launch(queue, shape_for_parts(name, 2 * args.channels), add_parts, args, sums, parts);
      };
      if (L::held > 0 && args.dgamma) {
        const RowParts parts(args.rows, block, args.images);
        const Scratch sums = queue.scratch(args.images * parts.count * 2 * args.channels);
        launch_gradients(gradients_kernel<T, L, L::held != 0>(args), sums.data(), parts.count, parts.rows);
        return add(sums.data(), args.images * parts.count);
      }
      const int64_t rows = block.groups * L::kRowsAtOnce;
      if (args.dx || args.dbranch || args.y)
        launch_gradients(gradients_kernel<T, L, false>(args), nullptr, ceil_div(args.rows, rows), rows);
      if (!args.dgamma) return;
      const RowParts parts(args.images * args.rows, block);
      const Scratch sums = queue.scratch(parts.count * 2 * args.channels);
      launch(queue, block.shape(name, parts.count), parameters_of_part<T>, args, sums.data(), parts.rows);
      add(sums.data(), parts.count);
    });
  });
}

}  // namespace

void run(const LayerNormBackward& args, Queue& queue) {
  backward(args.name, without_branch(args), queue);
}

void run(const ResidualNormBackward& args, Queue& queue) {
  backward(args.name, args, queue);
}

}  // namespace scrawl::SCRAWL_GPU
