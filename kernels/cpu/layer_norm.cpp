// Layer norm over rows of channels: a row is read into the first-level cache once; residual sum, mean,
// variance (two passes, see the header) and result follow from there.  The backward pass needs two sums a row
// and leaves partial sums of dgamma and dbeta for every fixed chunk of rows.  A layer norm alone is one
// without a branch; two in a row take one reading of the map each way.
// Cost: bound by memory from 64 channels on.
// Limits: fewer channels pay for the sums across a register.
#include "kernels/layer_norm.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/cpu/gemm.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/partial_sums.h"

namespace scrawl::cpu {

namespace {

/// Where a row of a map starts; null when there is no map.
const float* row_of(const void* map, int64_t row, int channels) {
  return map ? static_cast<const float*>(map) + row * channels : nullptr;
}
float* row_of(void* map, int64_t row, int channels) {
  return map ? static_cast<float*>(map) + row * channels : nullptr;
}

/// What both passes yield of a row, by the same instructions.
void normalise(const float* x, float mean, float rstd, const float* gamma, const float* beta, int channels,
               float* y) {
#pragma omp simd
  for (int c = 0; c < channels; ++c) y[c] = (x[c] - mean) * rstd * gamma[c] + beta[c];
}

/// Calls body(row, scale of its image) for rows of all images.
template <typename Arguments, typename Body>
void for_each_row(const Arguments& args, int64_t begin, int64_t end, Body body) {
  for (int64_t row = begin; row < end;) {
    const int64_t image = row / args.rows;
    const float scale = args.drop_path.scale(static_cast<uint32_t>(image));
    for (const int64_t last = std::min(end, (image + 1) * args.rows); row < last; ++row) body(row, scale);
  }
}

// --- forward ----------------------------------------------------------------------------------------------

/// What a norm yields of a row beside y.
struct Moments {
  float mean, rstd;
};

Moments normalise(const float* x, const float* gamma, const float* beta, float eps, int channels, float* y) {
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
  const float rstd = 1.0f / std::sqrt(std::max(squares / channels - shift * shift, 0.0f) + eps);
  normalise(x, mean, rstd, gamma, beta, channels, y);
  return {mean, rstd};
}

void normalise(const ResidualNormForward& args, int64_t row, float scale) {
  const int channels = args.channels;
  const float* x = row_of(args.x, row, channels);
  if (args.branch) {
    const float* branch = row_of(args.branch, row, channels);
    float* total = row_of(args.sum, row, channels);
#pragma omp simd
    for (int c = 0; c < channels; ++c) total[c] = x[c] + scale * branch[c];
    x = total;
  }
  const Moments moments =
      normalise(x, args.gamma, args.beta, args.eps, channels, row_of(args.y, row, channels));
  args.mean[row] = moments.mean;
  args.rstd[row] = moments.rstd;
}

void forward(const ResidualNormForward& args, Queue& queue) {
  parallel_chunks(queue, args.images * args.rows, grain_for(args.channels), [&](int64_t begin, int64_t end) {
    for_each_row(args, begin, end, [&](int64_t row, float scale) { normalise(args, row, scale); });
  });
}

// --- backward ---------------------------------------------------------------------------------------------

/// dx = onto + what the norm makes of dy; onto may be null, and it or dy may be dx itself.
void input_gradient(const float* x, float mean, float rstd, const float* gamma, const float* dy,
                    const float* onto, int channels, float* dx) {
  float sum = 0.0f, product = 0.0f;  // Σ g and Σ g · x̂
#pragma omp simd reduction(+ : sum, product)
  for (int c = 0; c < channels; ++c) {
    const float g = dy[c] * gamma[c];
    sum += g;
    product += g * (x[c] - mean);
  }
  const float mean_g = sum / channels;
  const float slope = product * rstd * rstd / channels;
  if (onto) {
#pragma omp simd
    for (int c = 0; c < channels; ++c)
      dx[c] = onto[c] + rstd * (dy[c] * gamma[c] - mean_g - (x[c] - mean) * slope);
  } else {
#pragma omp simd
    for (int c = 0; c < channels; ++c) dx[c] = rstd * (dy[c] * gamma[c] - mean_g - (x[c] - mean) * slope);
  }
}

/// dx and dbranch of one row, as far as they are wanted.
void input_gradients(const ResidualNormBackward& args, int64_t row, float scale) {
  const int channels = args.channels;
  float *dx = row_of(args.dx, row, channels), *dbranch = row_of(args.dbranch, row, channels);
  float* ds = dx ? dx : dbranch;
  if (!ds) return;
  const float* dsum = row_of(args.dsum, row, channels);
  if (args.dy)
    input_gradient(row_of(args.sum, row, channels), args.mean[row], args.rstd[row], args.gamma,
                   row_of(args.dy, row, channels), dsum, channels, ds);
  else if (ds != dsum)
    std::copy_n(dsum, channels, ds);
  if (!dbranch) return;
#pragma omp simd
  for (int c = 0; c < channels; ++c) dbranch[c] = scale * ds[c];
}

/// Adds one row's share to dgamma and dbeta.
void parameter_gradient(const ResidualNormBackward& args, int64_t row, float* dgamma, float* dbeta) {
  const int channels = args.channels;
  const float *x = row_of(args.sum, row, channels), *dy = row_of(args.dy, row, channels);
  const float mean = args.mean[row], rstd = args.rstd[row];
#pragma omp simd
  for (int c = 0; c < channels; ++c) {
    dgamma[c] += dy[c] * ((x[c] - mean) * rstd);
    dbeta[c] += dy[c];
  }
}

void backward(std::string_view name, const ResidualNormBackward& args, Queue& queue) {
  check_results(name, args);
  const int channels = args.channels;
  const int64_t grain = std::min<int64_t>(grain_for(channels), 1024);
  const int64_t rows = args.images * args.rows, chunks = ceil_div(rows, grain);
  const int64_t width = 2 * int64_t{channels};  // a chunk's dgamma, then its dbeta
  float* partials = args.dgamma ? queue.scratch(chunks * width) : nullptr;
  parallel_chunks(queue, rows, grain, [&](int64_t begin, int64_t end) {
    float* dgamma = partials ? partials + begin / grain * width : nullptr;
    if (dgamma) std::fill(dgamma, dgamma + width, 0.0f);
    for_each_row(args, begin, end, [&](int64_t row, float scale) {
      if (dgamma) parameter_gradient(args, row, dgamma, dgamma + channels);
      if (args.y)
        normalise(row_of(args.sum, row, channels), args.mean[row], args.rstd[row], args.gamma, args.beta,
                  channels, row_of(args.y, row, channels));
      input_gradients(args, row, scale);
    });
  });
  if (!partials) return;
  reduce_partials(queue, partials, chunks, width, channels, args.dgamma, args.accumulate_parameters);
  reduce_partials(queue, partials + channels, chunks, width, channels, args.dbeta,
                  args.accumulate_parameters);
}

// --- two in a row -----------------------------------------------------------------------------------------

void normalise_twice(const NormPairForward& args, int64_t row) {
  const auto &first = args.first, &second = args.second;
  const int channels = args.channels;
  float* z = row_of(args.z, row, channels);
  const Moments of_x =
      normalise(row_of(args.x, row, channels), first.gamma, first.beta, first.eps, channels, z);
  const Moments of_z =
      normalise(z, second.gamma, second.beta, second.eps, channels, row_of(args.y, row, channels));
  first.mean[row] = of_x.mean;
  first.rstd[row] = of_x.rstd;
  second.mean[row] = of_z.mean;
  second.rstd[row] = of_z.rstd;
}

/// `z`: room for a row.
void input_gradient(const NormPairBackward& args, int64_t row, float* z) {
  const auto &first = args.first, &second = args.second;
  const int channels = args.channels;
  const float *x = row_of(args.x, row, channels), *dy = row_of(args.dy, row, channels);
  const float* dz = row_of(args.dz, row, channels);
  float* dx = row_of(args.dx, row, channels);
  if (dy) {
    normalise(x, first.mean[row], first.rstd[row], first.gamma, first.beta, channels, z);
    if (args.y)
      normalise(z, second.mean[row], second.rstd[row], second.gamma, second.beta, channels,
                row_of(args.y, row, channels));
    input_gradient(z, second.mean[row], second.rstd[row], second.gamma, dy, dz, channels, dx);
    dz = dx;
  }
  input_gradient(x, first.mean[row], first.rstd[row], first.gamma, dz, nullptr, channels, dx);
}

}  // namespace

void run(const LayerNormForward& args, Queue& queue) {
  require_f32(args.dtype, args.name);
  forward(without_branch(args), queue);
}

void run(const LayerNormBackward& args, Queue& queue) {
  require_f32(args.dtype, args.name);
  backward(args.name, without_branch(args), queue);
}

void run(const ResidualNormForward& args, Queue& queue) {
  require_f32(args.dtype, args.name);
  forward(args, queue);
}

void run(const ResidualNormBackward& args, Queue& queue) {
  require_f32(args.dtype, args.name);
  backward(args.name, args, queue);
}

void run(const NormPairForward& args, Queue& queue) {
  require_f32(args.dtype, args.name);
  parallel_chunks(queue, args.rows, grain_for(args.channels), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) normalise_twice(args, row);
  });
}

void run(const NormPairBackward& args, Queue& queue) {
  require_f32(args.dtype, args.name);
  check_results(args);
  parallel_chunks(queue, args.rows, grain_for(args.channels), [&](int64_t begin, int64_t end) {
    std::vector<float> z(args.channels);
    for (int64_t row = begin; row < end; ++row) input_gradient(args, row, z.data());
  });
}

}  // namespace scrawl::cpu
