// Layer norm over rows of channels: a row is read into the first-level cache once; mean, variance (two
// passes, see the header) and result follow from there.  The backward pass needs two sums a row and leaves
// partial sums of dgamma and dbeta for every fixed chunk of rows. Cost: bound by memory from 64 channels on.
// Limits: fewer channels pay for the sums across a register.
#include "kernels/layer_norm.h"

#include <algorithm>
#include <cmath>

#include "kernels/cpu/gemm.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/partial_sums.h"

namespace scrawl::cpu {

namespace {

void normalise(const LayerNormForward& args, int64_t row) {
  const int channels = args.channels;
  const float* x = static_cast<const float*>(args.x) + row * channels;
  float* y = static_cast<float*>(args.y) + row * channels;
  float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
  for (int c = 0; c < channels; ++c) sum += x[c];
  const float about = sum / channels;  // off by the rounding of a long sum: the second pass sets it right
  float squares = 0.0f, rest = 0.0f;
#pragma omp simd reduction(+ : squares, rest)
  for (int c = 0; c < channels; ++c) {
    squares += (x[c] - about) * (x[c] - about);
    rest += x[c] - about;
  }
  const float shift = rest / channels, mean = about + shift;
  const float rstd = 1.0f / std::sqrt(std::max(squares / channels - shift * shift, 0.0f) + args.eps);
#pragma omp simd
  for (int c = 0; c < channels; ++c) y[c] = (x[c] - mean) * rstd * args.gamma[c] + args.beta[c];
  args.mean[row] = mean;
  args.rstd[row] = rstd;
}

void input_gradient(const LayerNormBackward& args, int64_t row) {
  const int channels = args.channels;
  const float* x = static_cast<const float*>(args.x) + row * channels;
  const float* dy = static_cast<const float*>(args.dy) + row * channels;
  float* dx = static_cast<float*>(args.dx) + row * channels;
  const float* gamma = args.gamma;
  const float mean = args.mean[row], rstd = args.rstd[row];
  float sum = 0.0f, product = 0.0f;  // Σ g and Σ g · x̂
#pragma omp simd reduction(+ : sum, product)
  for (int c = 0; c < channels; ++c) {
    const float g = dy[c] * gamma[c];
    sum += g;
    product += g * (x[c] - mean);
  }
  const float mean_g = sum / channels;
  const float slope = product * rstd * rstd / channels;
  if (args.accumulate_dx) {
#pragma omp simd
    for (int c = 0; c < channels; ++c) dx[c] += rstd * (dy[c] * gamma[c] - mean_g - (x[c] - mean) * slope);
  } else {
#pragma omp simd
    for (int c = 0; c < channels; ++c) dx[c] = rstd * (dy[c] * gamma[c] - mean_g - (x[c] - mean) * slope);
  }
}

/// Adds one row's share to dgamma and dbeta.
void parameter_gradient(const LayerNormBackward& args, int64_t row, float* dgamma, float* dbeta) {
  const int channels = args.channels;
  const float* x = static_cast<const float*>(args.x) + row * channels;
  const float* dy = static_cast<const float*>(args.dy) + row * channels;
  const float mean = args.mean[row], rstd = args.rstd[row];
#pragma omp simd
  for (int c = 0; c < channels; ++c) {
    dgamma[c] += dy[c] * ((x[c] - mean) * rstd);
    dbeta[c] += dy[c];
  }
}

}  // namespace

void run(const LayerNormForward& args, Queue& queue) {
  require_f32(args.dtype, args.name);
  parallel_chunks(queue, args.rows, grain_for(args.channels), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) normalise(args, row);
  });
}

void run(const LayerNormBackward& args, Queue& queue) {
  require_f32(args.dtype, args.name);
  const int64_t grain = std::min<int64_t>(grain_for(args.channels), 1024);
  const int64_t chunks = ceil_div(args.rows, grain);
  const int64_t width = 2 * int64_t{args.channels};  // a chunk's dgamma, then its dbeta
  float* partials = args.dgamma ? queue.scratch(chunks * width) : nullptr;
  parallel_chunks(queue, args.rows, grain, [&](int64_t begin, int64_t end) {
    float* dgamma = partials ? partials + begin / grain * width : nullptr;
    if (dgamma) std::fill(dgamma, dgamma + width, 0.0f);
    for (int64_t row = begin; row < end; ++row) {
      if (dgamma) parameter_gradient(args, row, dgamma, dgamma + args.channels);
      if (args.dx) input_gradient(args, row);
    }
  });
  if (!partials) return;
  reduce_partials(queue, partials, chunks, width, args.channels, args.dgamma, args.accumulate_parameters);
  reduce_partials(queue, partials + args.channels, chunks, width, args.channels, args.dbeta,
                  args.accumulate_parameters);
}

}  // namespace scrawl::cpu
