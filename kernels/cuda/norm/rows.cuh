#pragma once
// Rows of channels under layer norm.  A row is shared by up to 32 lanes, so that a warp takes several short
// rows at a time; where a lane has but one pack of 16 bytes, a thread has two rows under way.  Lanes keep
// their packs in registers: a row is read once, and everything that a kernel makes of it follows from there.
// Cost: bound by memory if instructions are few: rows beyond the last are replaced by the last and their
// results not stored, since branches around loads and zeros instead of values cost more than all arithmetic.
// Limits: rows of more than 128 packs, and channels that are not whole packs, are read value by value, once
// for every pass.
#include <bit>

#include "kernels/cuda/device/columns.cuh"
#include "kernels/cuda/device/elementwise.cuh"
#include "kernels/cuda/device/stand_in.cuh"
#include "kernels/cuda/device/storage.cuh"
#include "kernels/drop_path.h"

namespace scrawl::SCRAWL_GPU {

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
  /// The row becomes what body(values, i, channel) makes of its packs, as it is stored in `target`; without
  /// `stores`, as it would be.
  template <typename Body>
  __device__ __forceinline__ void replace(T* target, bool stores, int channels, Body body) {
    for_each_pack<L>(channels, [&](int i, int channel) {
      const auto stored = to_pack<T>(body(values(i, channel), i, channel));
      if (stores) store_pack(target + channel, stored);
      if constexpr (L::held > 0) held_[i] = stored;
    });
    row_ = target;
  }

 private:
  const T* row_ = nullptr;  // null stands for zeros
  Pack<T, width> held_[L::held > 0 ? L::held : 1] = {};
};

/// For how many blocks a multiprocessor shall have registers, so that enough loads are under way: fewer where
/// a thread keeps more than a row and its gradient.
template <typename L, bool keeps_more = false>
inline constexpr int kBlocksAtOnce = L::held == 4 ? 1
                                     : keeps_more ? 2
                                                  : 3;

/// A row of an image: one beyond `end` does the work of the last, but its results are not stored.
struct Row {
  int64_t index;  // among the rows of all images
  bool exists;

  __device__ Row(unsigned image, int64_t rows, int64_t in_image, int64_t end)
      : index(image * rows + min(in_image, end - 1)), exists(in_image < end) {
    reads_stand_in(!exists);
  }
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

/// 1/√x.  In bf16 the special function's error of 2 ulp does not show; in fp32 it would, in every value of a
/// row alike.
template <typename T>
__device__ __forceinline__ float inverse_root(float x) {
  if constexpr (std::is_same_v<T, float>)
    return 1.0f / sqrtf(x);
  else
    return rsqrt(x);
}

/// What layer norm makes of a pack.  One function for all kernels, so that its bits are the same in each.
template <int N>
__device__ __forceinline__ Floats<N> normed(Floats<N> values, float mean, float rstd, const Floats<N>& gamma,
                                            const Floats<N>& beta) {
#pragma unroll
  for (int i = 0; i < N; ++i) values[i] = (values[i] - mean) * rstd * gamma[i] + beta[i];
  return values;
}

/// Normalises rows: they become what is left in `to`, their means and 1/σ go to `means` and `rstds`.
/// `share`: 1/channels.
template <typename T, typename L, int rows>
__device__ __forceinline__ void normalise(RowShare<T, L> (&x)[rows], const Row (&row)[rows],
                                          const RowShare<float, L>& gamma, const RowShare<float, L>& beta,
                                          void* to, float* means, float* rstds, int channels, float share,
                                          float eps) {
  constexpr int width = L::width;
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
#pragma unroll
  for (int r = 0; r < rows; ++r) {
    const float shift = distances[2 * r] * share, mean = about[r] + shift;
    const float rstd = inverse_root<T>(max(distances[2 * r + 1] * share - shift * shift, 0.0f) + eps);
    x[r].replace(row[r].template in<T>(to, channels), row[r].exists, channels,
                 [&](const auto& values, int pack, int channel) {
                   return normed(values, mean, rstd, gamma.values(pack, channel), beta.values(pack, channel));
                 });
    if (!row[r].exists || threadIdx.x > 0) continue;
    means[row[r].index] = mean;
    rstds[row[r].index] = rstd;
  }
}

/// The scale of the image that this block works on.  All threads call it.
__device__ __forceinline__ float scale_of_block(const DropPath& drop_path, unsigned image) {
  if (drop_path.rate == 0.0f) return 1.0f;
  auto& scale = shared<float, struct BlockScale>();
  if (thread_rank() == 0) scale = drop_path.scale(image);
  __syncthreads();
  return scale;
}

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

inline LaunchShape over_rows(std::string_view name, const ColumnBlock& block, int64_t blocks) {
  return {.name = name, .grid = {blocks}, .block = {block.lanes, block.groups}};
}

}  // namespace scrawl::SCRAWL_GPU
