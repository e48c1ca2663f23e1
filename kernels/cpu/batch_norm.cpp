// Batch normalisation over rows of channels.  Statistics: every fixed chunk of rows computes its own mean,
// then, while it is in the cache, the squares around that mean; chunks are merged in order and in double
// (Chan, Golub and LeVeque, 1983).  So x comes from memory twice forward (statistics, output), and x and dy
// twice backward (sums, dx).  Bound by memory; loops run over channels, so very few channels waste lanes.
#include "kernels/batch_norm.h"

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

void batch_statistics(const BatchNormForward& args, Queue& queue) {
  const auto* x = static_cast<const float*>(args.x);
  const int channels = args.channels;
  const int64_t step = rows_per_chunk(channels);
  float* partials = queue.scratch(chunks_of(args.rows, channels) * 3 * channels);
  parallel_chunks(queue, args.rows, step, [&](int64_t begin, int64_t end) {
    float* partial = partials + begin / step * 3 * channels;
    chunk_statistics(x + begin * channels, end - begin, channels, partial, partial + channels,
                     partial + 2 * channels);
  });
  const Moments moments = merge(partials, args.rows, channels);
  const double rows = static_cast<double>(args.rows), momentum = args.momentum;
  for (int c = 0; c < channels; ++c) {
    const double unbiased = moments.squares[c] / std::max(rows - 1.0, 1.0);
    args.mean[c] = static_cast<float>(moments.mean[c]);
    args.rstd[c] = static_cast<float>(1.0 / std::sqrt(moments.squares[c] / rows + args.eps));
    args.running_mean[c] =
        static_cast<float>((1.0 - momentum) * args.running_mean[c] + momentum * moments.mean[c]);
    args.running_var[c] = static_cast<float>((1.0 - momentum) * args.running_var[c] + momentum * unbiased);
  }
}

/// Per chunk and channel: Σ dy and Σ dy · (x − mean).
void chunk_sums(const float* x, const float* dy, const float* mean, int64_t rows, int channels, float* sum,
                float* product) {
  std::fill_n(sum, channels, 0.0f);
  std::fill_n(product, channels, 0.0f);
  for (int64_t row = 0; row < rows; ++row) {
    const float *x_row = x + row * channels, *dy_row = dy + row * channels;
#pragma omp simd
    for (int c = 0; c < channels; ++c) {
      sum[c] += dy_row[c];
      product[c] += dy_row[c] * (x_row[c] - mean[c]);
    }
  }
}

/// Parameter gradients; and [3][channels] for dx: the mean of dy, the slope of x − mean, the scale.
void combine_sums(const BatchNormBackward& args, const float* partials, float* factors) {
  const int channels = args.channels;
  const int64_t chunks = chunks_of(args.rows, channels);
  for (int c = 0; c < channels; ++c) {
    double sum = 0.0, product = 0.0;
    for (int64_t chunk = 0; chunk < chunks; ++chunk) {
      sum += partials[(2 * chunk) * channels + c];
      product += partials[(2 * chunk + 1) * channels + c];
    }
    const double rstd = args.rstd[c], rows = static_cast<double>(std::max<int64_t>(args.rows, 1));
    factors[c] = args.training ? static_cast<float>(sum / rows) : 0.0f;
    factors[channels + c] = args.training ? static_cast<float>(product * rstd * rstd / rows) : 0.0f;
    factors[2 * channels + c] = static_cast<float>(args.gamma[c] * rstd);
    if (args.dgamma == nullptr) continue;
    args.dgamma[c] =
        (args.accumulate_parameters ? args.dgamma[c] : 0.0f) + static_cast<float>(product * rstd);
    args.dbeta[c] = (args.accumulate_parameters ? args.dbeta[c] : 0.0f) + static_cast<float>(sum);
  }
}

}  // namespace

void run(const BatchNormForward& args, Queue& queue) {
  require_f32(args.dtype, args.name);
  const auto* x = static_cast<const float*>(args.x);
  auto* y = static_cast<float*>(args.y);
  const int channels = args.channels;
  if (args.training && args.rows > 0) {
    batch_statistics(args, queue);
  } else {
    for (int c = 0; c < channels; ++c) {
      args.mean[c] = args.running_mean[c];
      args.rstd[c] = 1.0f / std::sqrt(args.running_var[c] + args.eps);
    }
  }
  float* scale = queue.scratch(channels);
  for (int c = 0; c < channels; ++c) scale[c] = args.rstd[c] * args.gamma[c];
  parallel_chunks(queue, args.rows, rows_per_chunk(channels), [&](int64_t begin, int64_t end) {
    const float *mean = args.mean, *beta = args.beta;
    for (int64_t row = begin; row < end; ++row) {
      const float* from = x + row * channels;
      float* to = y + row * channels;
#pragma omp simd
      for (int c = 0; c < channels; ++c) to[c] = (from[c] - mean[c]) * scale[c] + beta[c];
    }
  });
}

void run(const BatchNormBackward& args, Queue& queue) {
  require_f32(args.dtype, args.name);
  const auto* x = static_cast<const float*>(args.x);
  const auto* dy = static_cast<const float*>(args.dy);
  auto* dx = static_cast<float*>(args.dx);
  const int channels = args.channels;
  const int64_t step = rows_per_chunk(channels), partial_size = chunks_of(args.rows, channels) * 2 * channels;
  float* partials = queue.scratch(partial_size + 3 * channels);
  float* factors = partials + partial_size;
  parallel_chunks(queue, args.rows, step, [&](int64_t begin, int64_t end) {
    float* partial = partials + begin / step * 2 * channels;
    chunk_sums(x + begin * channels, dy + begin * channels, args.mean, end - begin, channels, partial,
               partial + channels);
  });
  combine_sums(args, partials, factors);
  if (dx == nullptr) return;

  parallel_chunks(queue, args.rows, step, [&](int64_t begin, int64_t end) {
    const float *mean = args.mean, *shift = factors, *slope = factors + channels, *scale = slope + channels;
    const bool accumulate = args.accumulate_dx;
    for (int64_t row = begin; row < end; ++row) {
      const float *x_row = x + row * channels, *dy_row = dy + row * channels;
      float* to = dx + row * channels;
#pragma omp simd
      for (int c = 0; c < channels; ++c)
        to[c] =
            (accumulate ? to[c] : 0.0f) + scale[c] * (dy_row[c] - shift[c] - (x_row[c] - mean[c]) * slope[c]);
    }
  });
}

}  // namespace scrawl::cpu
