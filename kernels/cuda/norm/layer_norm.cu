// Layer norm, alone or after a residual sum; alone it is one without a branch.  A row is read once, and sum,
// mean, variance (two passes, see the header) and result follow from there.  A block stays within one image,
// whose drop path's scale one thread draws (ten rounds of Philox) while the loads are under way.
// Cost and limits: those of rows.cuh.
#include "kernels/layer_norm.h"

#include "kernels/cuda/norm/rows.cuh"

namespace scrawl::SCRAWL_GPU {

namespace {

template <typename T, typename L, bool residual>
__global__ void __launch_bounds__(L::kThreads, kBlocksAtOnce<L>)
    normalise_rows(ResidualNormForward args, float share, unsigned blocks_per_image) {
  constexpr int rows = L::kRowsAtOnce;
  const int channels = args.channels;
  const unsigned image = blockIdx.x / blocks_per_image, block = blockIdx.x % blocks_per_image;

  RowShare<float, L> gamma, beta;
  RowShare<T, L> x[rows], branch[rows];
  Row row[rows];
#pragma unroll
  for (int r = 0; r < rows; ++r) {
    row[r] = Row(image, args.rows, (int64_t{block} * rows + r) * blockDim.y + threadIdx.y, args.rows);
    x[r].open(row[r].template in<T>(args.x, channels), channels);
    if constexpr (residual) branch[r].open(row[r].template in<T>(args.branch, channels), channels);
  }
  gamma.open(args.gamma, channels);
  beta.open(args.beta, channels);
  if constexpr (residual) {
    const float scale = scale_of_block(args.drop_path, image);
#pragma unroll
    for (int r = 0; r < rows; ++r)
      x[r].replace(row[r].template in<T>(args.sum, channels), row[r].exists, channels,
                   [&](Floats<L::width> values, int pack, int channel) {
                     const auto addends = branch[r].values(pack, channel);
#pragma unroll
                     for (int i = 0; i < L::width; ++i) values[i] += scale * addends[i];
                     return values;
                   });
  }
  normalise(x, row, gamma, beta, args.y, args.mean, args.rstd, channels, share, args.eps);
}

void forward(std::string_view name, const ResidualNormForward& args, Queue& queue) {
  with_storage(args.dtype, name, [&]<typename T>(Storage<T>) {
    const std::initializer_list<const void*> pointers = {args.x,    args.branch, args.gamma,
                                                         args.beta, args.sum,    args.y};
    with_layout<T>(args.channels, pointers, [&]<typename L>(L, const ColumnBlock& block) {
      const int64_t blocks = ceil_div(args.rows, block.groups * L::kRowsAtOnce);
      launch(queue, over_rows(name, block, args.images * blocks),
             args.branch ? normalise_rows<T, L, true> : normalise_rows<T, L, false>, args,
             1.0f / args.channels, static_cast<unsigned>(blocks));
    });
  });
}

}  // namespace

void run(const LayerNormForward& args, Queue& queue) {
  forward(args.name, without_branch(args), queue);
}

void run(const ResidualNormForward& args, Queue& queue) {
  forward(args.name, args, queue);
}

}  // namespace scrawl::SCRAWL_GPU
