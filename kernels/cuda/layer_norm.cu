// Layer norm over rows of channels, alone or after a residual sum; alone it is one without a branch.  A row
// is shared by up to 32 lanes, so that a warp takes several short rows at a time; where a lane has but one
// pack of 16 bytes, a thread has two rows under way.  Lanes keep their packs in registers: the row is read
// once, and sum, mean, variance (two passes, see the header) and result follow from there.  A block stays
// within one image, whose drop path's scale one thread draws (ten rounds of Philox) while the loads are
// under way.
// Backward: the same layout.  When dgamma and dbeta are wanted, each block walks over the rows of one part
// and keeps its share of them in registers, too, so that all gradients take one reading; partial sums are
// added in a second launch, in fixed order.
// Cost: bound by memory if instructions are few: rows beyond the last are replaced by the last and their
// results not stored, since branches around loads and zeros instead of values cost more than all arithmetic.
// Limits: rows of more than 128 packs, and channels that are not whole packs, are read value by value, once
// for every pass, and their dgamma and dbeta take a launch of their own.
#include "kernels/layer_norm.h"

#include <bit>

#include "kernels/cuda/device/columns.cuh"
#include "kernels/cuda/device/elementwise.cuh"
#include "kernels/cuda/device/storage.cuh"

namespace scrawl::SCRAWL_GPU {

namespace {

/// How lanes share a row: each has `held` packs of `width` channels, a block's lanes apart; if `held` is 0,
/// any number, and values are read anew at each use.  `whole`: no lane lacks a pack.
template <int w, int h, bool all>
struct Layout {
  static constexpr int width = w, held = h;
  static constexpr bool whole = all;
  static constexpr int kRowsAtOnce = h == 1 ? 2 : 1;  // that a thread has under way together
  // Smaller blocks are shared out more evenly where each thread has much to do.
  static constexpr int kThreads = h == 5 ? kColumnThreads / 2 : kColumnThreads;
};

/// Calls body(i, first channel) for every pack of this lane in a row.
template <typename L, typename Body>
__device__ __forceinline__ void for_each_pack(int channels, Body body) {
  if constexpr (L::held > 0) {
#pragma unroll
    for (int i = 0; i < L::held; ++i) {
      const int channel = (threadIdx.x + i * blockDim.x) * L::width;
      if (L::whole || channel < channels) body(i, channel);
    }
  } else {
    static_assert(!L::whole);
    for (int i = 0, channel = threadIdx.x * L::width; channel < channels; channel += blockDim.x * L::width)
      body(i++, channel);
  }
}

/// The pack, or zeros if mask is 0 and not all ones: without a branch, for which nvcc would take it to
/// pieces.
template <typename T, int N>
__device__ __forceinline__ Pack<T, N> masked(const Pack<T, N>& pack, unsigned mask) {
  auto words = std::bit_cast<std::array<unsigned, sizeof(pack) / sizeof(unsigned)>>(pack);
#pragma unroll
  for (unsigned& word : words) word &= mask;
  return std::bit_cast<Pack<T, N>>(words);
}

/// This lane's share of a row.
template <typename T, typename L>
class RowShare {
  static constexpr int width = L::width;

 public:
  __device__ void open(const T* row, int channels) {
    row_ = row;
    if constexpr (L::held > 0)
      for_each_pack<L>(channels, [&](int i, int channel) { held_[i] = load_pack<width>(row + channel); });
  }
  /// A row of `map` or, without a map, zeros; `other` is a map that is there.
  __device__ void open(const void* map, const void* other, int64_t offset, int channels) {
    if constexpr (L::held > 0) {
      const unsigned mask = map != nullptr ? ~0u : 0u;
      open(static_cast<const T*>(map != nullptr ? map : other) + offset, channels);
      for_each_pack<L>(channels, [&](int i, int) { held_[i] = masked(held_[i], mask); });
    } else if (map != nullptr) {
      open(static_cast<const T*>(map) + offset, channels);
    }
  }
  __device__ Floats<width> values(int i, int channel) const {
    if constexpr (L::held > 0) return to_floats(held_[i]);
    return row_ != nullptr ? load<width>(row_ + channel) : Floats<width>{};
  }
  /// Adds scale · other; with `stores`, leaves the sum in memory.  From here on the row is what was stored.
  __device__ void add(float scale, const RowShare& other, T* sum, bool stores, int channels) {
    for_each_pack<L>(channels, [&](int i, int channel) {
      auto result = values(i, channel);
      const auto addends = other.values(i, channel);
#pragma unroll
      for (int k = 0; k < width; ++k) result[k] += scale * addends[k];
      const auto stored = to_pack<T>(result);
      if (stores) store_pack(sum + channel, stored);
      if constexpr (L::held > 0) held_[i] = stored;
    });
    row_ = sum;
  }

 private:
  const T* row_ = nullptr;  // null stands for zeros
  Pack<T, width> held_[L::held > 0 ? L::held : 1] = {};
};

/// For how many blocks a multiprocessor shall have registers, so that enough loads are under way.
template <typename L, bool learns = false>
inline constexpr int kBlocksAtOnce = L::held == 4 ? 1
                                     : learns     ? 2
                                                  : 3;

/// A row of an image: one beyond `end` does the work of the last, but its results are not stored.
struct Row {
  int64_t index;  // among the rows of all images
  bool exists;

  __device__ Row(unsigned image, int64_t rows, int64_t in_image, int64_t end)
      : index(image * rows + min(in_image, end - 1)), exists(in_image < end) {}
  Row() = default;
  template <typename T>
  __device__ const T* in(const void* map, int channels) const {
    return static_cast<const T*>(map) + index * channels;
  }
  template <typename T>
  __device__ T* in(void* map, int channels) const {
    return static_cast<T*>(map) + index * channels;
  }
};

/// Σ over the lanes of a row, of N values at a time.
template <int N>
__device__ __forceinline__ Floats<N> row_sums(const Floats<N>& values) {
  return warp_sums_of(blockDim.x, values);
}

/// The scale of the image that this block works on.  All threads call it.
__device__ __forceinline__ float scale_of_block(const DropPath& drop_path, unsigned image) {
  if (drop_path.rate == 0.0f) return 1.0f;
  auto& scale = shared<float, struct BlockScale>();
  if (thread_rank() == 0) scale = drop_path.scale(image);
  __syncthreads();
  return scale;
}

// --- forward ----------------------------------------------------------------------------------------------

/// 1/√x.  In bf16 the special function's error of 2 ulp does not show; in fp32 it would, in every value of a
/// row alike.
template <typename T>
__device__ __forceinline__ float inverse_root(float x) {
  if constexpr (std::is_same_v<T, float>)
    return 1.0f / sqrtf(x);
  else
    return rsqrt(x);
}

template <typename T, typename L, bool residual>
__global__ void __launch_bounds__(L::kThreads, kBlocksAtOnce<L>)
    normalise(ResidualNormForward args, float share, unsigned blocks_per_image) {
  constexpr int rows = L::kRowsAtOnce, width = L::width;
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
      x[r].add(scale, branch[r], row[r].template in<T>(args.sum, channels), row[r].exists, channels);
  }

  Floats<rows> about{};
  for_each_pack<L>(channels, [&](int pack, int channel) {
#pragma unroll
    for (int r = 0; r < rows; ++r) {
      const auto values = x[r].values(pack, channel);
#pragma unroll
      for (int i = 0; i < width; ++i) about[r] += values[i];
    }
  });
  about = row_sums(about);
#pragma unroll
  for (int r = 0; r < rows; ++r)
    about[r] *= share;  // off by the sum's rounding: the second pass sets it right

  Floats<2 * rows> distances{};  // their sum, and that of their squares, for each row
  for_each_pack<L>(channels, [&](int pack, int channel) {
#pragma unroll
    for (int r = 0; r < rows; ++r) {
      const auto values = x[r].values(pack, channel);
#pragma unroll
      for (int i = 0; i < width; ++i) {
        const float distance = values[i] - about[r];
        distances[2 * r] += distance;
        distances[2 * r + 1] += distance * distance;
      }
    }
  });
  distances = row_sums(distances);
  float mean[rows], rstd[rows];
#pragma unroll
  for (int r = 0; r < rows; ++r) {
    const float shift = distances[2 * r] * share;
    mean[r] = about[r] + shift;
    rstd[r] = inverse_root<T>(max(distances[2 * r + 1] * share - shift * shift, 0.0f) + args.eps);
    if (!row[r].exists || threadIdx.x > 0) continue;
    args.mean[row[r].index] = mean[r];
    args.rstd[row[r].index] = rstd[r];
  }

  for_each_pack<L>(channels, [&](int pack, int channel) {
    const auto slopes = gamma.values(pack, channel), offsets = beta.values(pack, channel);
#pragma unroll
    for (int r = 0; r < rows; ++r) {
      auto values = x[r].values(pack, channel);
#pragma unroll
      for (int i = 0; i < width; ++i) values[i] = (values[i] - mean[r]) * rstd[r] * slopes[i] + offsets[i];
      if (row[r].exists) store<width>(row[r].template in<T>(args.y, channels) + channel, values);
    }
  });
}

// --- backward ---------------------------------------------------------------------------------------------

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
        Floats<width> normed;
#pragma unroll
        for (int i = 0; i < width; ++i) {
          const float g = gradients[i] * slopes[i], distance = inputs[i] - mean[r];
          totals[2 * r] += g;
          totals[2 * r + 1] += g * distance;
          if (again) normed[i] = distance * rstd[r] * slopes[i] + offsets[i];
          if (!learns || !row[r].exists) continue;
          dgamma[pack][i] += gradients[i] * (distance * rstd[r]);
          dbeta[pack][i] += gradients[i];
        }
        if (again && row[r].exists) store<width>(row[r].template in<T>(args.y, channels) + channel, normed);
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

// --- launches ---------------------------------------------------------------------------------------------

/// Calls body(Layout, ColumnBlock) for the way in which rows of type T are shared: by as many lanes as leave
/// none of them without a pack, if that is possible.
template <typename T, typename Body>
void with_layout(int channels, std::initializer_list<const void*> pointers, Body body) {
  constexpr int width = kPackWidth<T>, kMostLanes = kWarpSize;
  const int packs = packable(channels, pointers) % width == 0 ? channels / width : 0;
  if (packs == 0 || packs > 4 * kMostLanes) return body(Layout<1, 0, false>{}, ColumnBlock(channels));
  const auto shared_by = [&](int held) {
    const int lanes = packs / held;
    return packs % held == 0 && lanes <= kMostLanes && std::has_single_bit(static_cast<unsigned>(lanes));
  };
  const auto call = [&]<typename L>(L layout, int lanes) {
    ColumnBlock block(lanes);
    block.groups = L::kThreads / block.lanes;
    body(layout, block);
  };
  if (shared_by(1)) return call(Layout<width, 1, true>{}, packs);
  if (shared_by(2)) return call(Layout<width, 2, true>{}, packs / 2);
  if (shared_by(5)) return call(Layout<width, 5, true>{}, packs / 5);
  call(Layout<width, 4, false>{}, packs);
}

LaunchShape over_rows(std::string_view name, const ColumnBlock& block, int64_t blocks) {
  return {.name = name, .grid = {blocks}, .block = {block.lanes, block.groups}};
}

void forward(std::string_view name, const ResidualNormForward& args, Queue& queue) {
  with_storage(args.dtype, name, [&]<typename T>(Storage<T>) {
    const std::initializer_list<const void*> pointers = {args.x,    args.branch, args.gamma,
                                                         args.beta, args.sum,    args.y};
    with_layout<T>(args.channels, pointers, [&]<typename L>(L, const ColumnBlock& block) {
      const int64_t blocks = ceil_div(args.rows, block.groups * L::kRowsAtOnce);
      launch(queue, over_rows(name, block, args.images * blocks),
             args.branch ? normalise<T, L, true> : normalise<T, L, false>, args, 1.0f / args.channels,
             static_cast<unsigned>(blocks));
    });
  });
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

void run(const LayerNormForward& args, Queue& queue) {
  forward(args.name, without_branch(args), queue);
}

void run(const LayerNormBackward& args, Queue& queue) {
  backward(args.name, without_branch(args), queue);
}

void run(const ResidualNormForward& args, Queue& queue) {
  forward(args.name, args, queue);
}

void run(const ResidualNormBackward& args, Queue& queue) {
  backward(args.name, args, queue);
}

}  // namespace scrawl::SCRAWL_GPU
