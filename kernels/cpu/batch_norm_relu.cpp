// Batch normalisation over rows of channels, ReLU and dropout of whole channels.  Statistics: every fixed
// chunk of rows computes its own mean, then, while it is in the cache, the squares around that mean; chunks
// are merged in order and in double (Chan, Golub and LeVeque, 1983).  So x comes from memory twice forward
// (statistics, output), and x and dy twice backward (sums, dx).  Which values ReLU let pass is computed again
// from x; the factors of dropped channels are drawn once into a table.  Bound by memory; loops run over
// channels, so very few channels waste lanes.
#include "kernels/batch_norm_relu.h"

#include <cmath>
#include <vector>

#include "kernels/cpu/parallel.h"

namespace scrawl::cpu {
namespace {

/// Rows of a chunk: few enough for the second cache and for sums in fp32.
int64_t rows_per_chunk(int channels) {
  return std::min<int64_t>(1024, grain_for(channels));
}

int64_t chunks_of(int64_t rows, int channels) {
  return (rows + rows_per_chunk(channels) - 1) / rows_per_chunk(channels);
}

/// mean[c], and around that (rounded) mean the sums of differences and of their squares.
void chunk_statistics(const float* x, int64_t rows, int channels, float* mean, float* sum, float* squares) {
  std::fill_n(mean, channels, 0.0f);
  std::fill_n(sum, channels, 0.0f);
  std::fill_n(squares, channels, 0.0f);
  for (int64_t row = 0; row < rows; ++row) {
    const float* from = x + row * channels;
#pragma omp simd
    for (int c = 0; c < channels; ++c) mean[c] += from[c];
  }
  const float share = 1.0f / static_cast<float>(rows);
#pragma omp simd
  for (int c = 0; c < channels; ++c) mean[c] *= share;
  for (int64_t row = 0; row < rows; ++row) {
    const float* from = x + row * channels;
#pragma omp simd
    for (int c = 0; c < channels; ++c) {
      const float difference = from[c] - mean[c];
      sum[c] += difference;
      squares[c] += difference * difference;
    }
  }
}

struct Moments {
  std::vector<double> mean, squares;  // squares: Σ (x − mean)²
};

/// Statistics of all rows from those of the chunks, [chunks][mean | sum | squares][channels].
Moments merge(const float* partials, int64_t rows, int channels) {
  Moments total{std::vector<double>(channels), std::vector<double>(channels)};
  const int64_t step = rows_per_chunk(channels);
  for (int64_t first = 0; first < rows; first += step, partials += 3 * channels) {
    const double n = std::min(step, rows - first), share = n / (first + n);
    for (int c = 0; c < channels; ++c) {
      const double rest = partials[channels + c] / n;  // what rounding left out of the chunk's mean
      const double delta = partials[c] + rest - total.mean[c];
      total.squares[c] += partials[2 * channels + c] - n * rest * rest + delta * delta * first * share;
      total.mean[c] += delta * share;
    }
  }
  return total;
}

void batch_statistics(const BatchNormReluForward& args, float* partials, Queue& queue) {
  const auto* x = static_cast<const float*>(args.x);
  const int channels = args.channels;
  const int64_t step = rows_per_chunk(channels);
  parallel_chunks(queue, args.rows(), step, [&](int64_t begin, int64_t end) {
    float* partial = partials + begin / step * 3 * channels;
    chunk_statistics(x + begin * channels, end - begin, channels, partial, partial + channels,
                     partial + 2 * channels);
  });
  const Moments moments = merge(partials, args.rows(), channels);
  const double rows = static_cast<double>(args.rows()), momentum = args.momentum;
  for (int c = 0; c < channels; ++c) {
    const double unbiased = moments.squares[c] / std::max(rows - 1.0, 1.0);
    args.mean[c] = static_cast<float>(moments.mean[c]);
    args.rstd[c] = static_cast<float>(1.0 / std::sqrt(moments.squares[c] / rows + args.eps));
    args.running_mean[c] =
        static_cast<float>((1.0 - momentum) * args.running_mean[c] + momentum * moments.mean[c]);
    args.running_var[c] = static_cast<float>((1.0 - momentum) * args.running_var[c] + momentum * unbiased);
  }
}

/// Dropout's factors [images][channels].
template <typename Arguments>
void draw_factors(const Arguments& args, float* dropped) {
  const int64_t count = args.images * args.channels;
  for (int64_t i = 0; i < count; ++i) dropped[i] = args.dropout.scale(static_cast<uint32_t>(i));
}

/// Per chunk and channel: Σ dz and Σ dz · (x − mean).
void chunk_sums(const BatchNormReluBackward& args, const float* dropped, const float* scale, int64_t begin,
                int64_t end, float* sum, float* product) {
  const float *mean = args.mean, *beta = args.beta;
  const int channels = args.channels;
  std::fill_n(sum, channels, 0.0f);
  std::fill_n(product, channels, 0.0f);
  for (int64_t row = begin; row < end; ++row) {
    const float* x = static_cast<const float*>(args.x) + row * channels;
    const float* dy = static_cast<const float*>(args.dy) + row * channels;
    const float* factor = dropped + row / args.positions * channels;
#pragma omp simd
    for (int c = 0; c < channels; ++c) {
      const float distance = x[c] - mean[c];
      const float dz = distance * scale[c] + beta[c] > 0.0f ? factor[c] * dy[c] : 0.0f;
      sum[c] += dz;
      product[c] += dz * distance;
    }
  }
}

/// Parameter gradients; and [2][channels] for dx: the mean of dz and the slope of x − mean.
void combine_sums(const BatchNormReluBackward& args, const float* partials, float* factors) {
  const int channels = args.channels;
  const int64_t chunks = chunks_of(args.rows(), channels);
  for (int c = 0; c < channels; ++c) {
    double sum = 0.0, product = 0.0;
    for (int64_t chunk = 0; chunk < chunks; ++chunk) {
      sum += partials[(2 * chunk) * channels + c];
      product += partials[(2 * chunk + 1) * channels + c];
    }
    const double rstd = args.rstd[c], rows = static_cast<double>(args.rows());
    factors[c] = static_cast<float>(sum / rows);
    factors[channels + c] = static_cast<float>(product * rstd * rstd / rows);
    if (args.dgamma == nullptr) continue;
    args.dgamma[c] =
        (args.accumulate_parameters ? args.dgamma[c] : 0.0f) + static_cast<float>(product * rstd);
    args.dbeta[c] = (args.accumulate_parameters ? args.dbeta[c] : 0.0f) + static_cast<float>(sum);
  }
}

/// dx = scale · (dz − shift − (x − mean) · slope) of rows [begin, end).
void input_gradient(const BatchNormReluBackward& args, const float* dropped, const float* scale,
                    const float* factors, int64_t begin, int64_t end) {
  const int channels = args.channels;
  const float *mean = args.mean, *beta = args.beta, *shift = factors, *slope = factors + channels;
  for (int64_t row = begin; row < end; ++row) {
    const float* x = static_cast<const float*>(args.x) + row * channels;
    const float* dy = static_cast<const float*>(args.dy) + row * channels;
    const float* factor = dropped + row / args.positions * channels;
    float* to = static_cast<float*>(args.dx) + row * channels;
#pragma omp simd
    for (int c = 0; c < channels; ++c) {
      const float distance = x[c] - mean[c];
      const float dz = distance * scale[c] + beta[c] > 0.0f ? factor[c] * dy[c] : 0.0f;
      to[c] = scale[c] * (dz - shift[c] - distance * slope[c]);
    }
  }
}

}  // namespace

void run(const BatchNormReluForward& args, Queue& queue) {
  require_f32(args.dtype, args.name);
  const auto* x = static_cast<const float*>(args.x);
  auto* y = static_cast<float*>(args.y);
  const int channels = args.channels;
  const int64_t partial_size = chunks_of(args.rows(), channels) * 3 * channels;
  float* scale = queue.scratch((1 + args.images) * channels + partial_size);
  float *dropped = scale + channels, *partials = dropped + args.images * channels;
  draw_factors(args, dropped);
  if (args.training) batch_statistics(args, partials, queue);
  for (int c = 0; c < channels; ++c)
    scale[c] =
        args.gamma[c] * (args.training ? args.rstd[c] : 1.0f / std::sqrt(args.running_var[c] + args.eps));
  parallel_chunks(queue, args.rows(), rows_per_chunk(channels), [&](int64_t begin, int64_t end) {
    const float *mean = args.training ? args.mean : args.running_mean, *beta = args.beta;
    for (int64_t row = begin; row < end; ++row) {
      const float* from = x + row * channels;
      const float* factor = dropped + row / args.positions * channels;
      float* to = y + row * channels;
#pragma omp simd
      for (int c = 0; c < channels; ++c) {
        const float z = (from[c] - mean[c]) * scale[c] + beta[c];
        to[c] = factor[c] * (z < 0.0f ? 0.0f : z);  // NaN passes through
      }
    }
  });
}

void run(const BatchNormReluBackward& args, Queue& queue) {
  require_f32(args.dtype, args.name);
  const int channels = args.channels;
  const int64_t step = rows_per_chunk(channels);
  const int64_t partial_size = chunks_of(args.rows(), channels) * 2 * channels;
  float* scale = queue.scratch((3 + args.images) * channels + partial_size);
  float *factors = scale + channels, *dropped = factors + 2 * channels;
  float* partials = dropped + args.images * channels;
  draw_factors(args, dropped);
  for (int c = 0; c < channels; ++c) scale[c] = args.gamma[c] * args.rstd[c];
  parallel_chunks(queue, args.rows(), step, [&](int64_t begin, int64_t end) {
    float* partial = partials + begin / step * 2 * channels;
    chunk_sums(args, dropped, scale, begin, end, partial, partial + channels);
  });
  combine_sums(args, partials, factors);
  if (args.dx == nullptr) return;
  parallel_chunks(queue, args.rows(), step, [&](int64_t begin, int64_t end) {
    input_gradient(args, dropped, scale, factors, begin, end);
  });
}

}  // namespace scrawl::cpu
