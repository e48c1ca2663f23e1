#pragma once
// Layer norm: alone, after a residual sum, and two in a row.
#include <stdexcept>
#include <string>
#include <string_view>

#include "kernels/cost.h"
#include "kernels/drop_path.h"
#include "kernels/dtype.h"
#include "kernels/queue.h"

namespace scrawl {

/// y = (x − mean) · rstd · gamma + beta for every row; mean and rstd [rows] are kept for the backward pass.
/// The variance takes a second pass over the row: E[x²] − E[x]² loses all digits when the mean is large.
struct LayerNormForward {
  static constexpr std::string_view name = "layer_norm.forward";
  DType dtype = DType::f32;
  const void* x = nullptr;
  const float* gamma = nullptr;
  const float* beta = nullptr;
  void* y = nullptr;
  float* mean = nullptr;
  float* rstd = nullptr;
  int64_t rows = 0;
  int channels = 0;
  float eps = 1e-5f;
  Cost cost() const {
    return {2 * rows * channels * size_of(dtype) + 8 * (rows + channels), 8 * rows * channels};
  }
};

/// dx (+)= rstd · (g − mean(g) − x̂ · mean(g · x̂)) with g = dy · gamma; dgamma (+)= Σ dy · x̂, dbeta (+)= Σ dy.
/// dx may be null, and so may dgamma and dbeta together (frozen norms).  y is what the forward pass yielded,
/// bit for bit the same, for those who did not keep it; or null, and then beta may be null.
struct LayerNormBackward {
  static constexpr std::string_view name = "layer_norm.backward";
  DType dtype = DType::f32;
  const void* x = nullptr;
  const float* gamma = nullptr;
  const float* beta = nullptr;
  const float* mean = nullptr;
  const float* rstd = nullptr;
  const void* dy = nullptr;
  void* y = nullptr;
  void* dx = nullptr;
  float* dgamma = nullptr;
  float* dbeta = nullptr;
  int64_t rows = 0;
  int channels = 0;
  bool accumulate_dx = false;
  bool accumulate_parameters = false;
  Cost cost() const {
    const int64_t maps = 2 + (dx != nullptr) + (dx && accumulate_dx) + (y != nullptr);
    const int64_t parameters = 1 + (dgamma ? (accumulate_parameters ? 4 : 2) : 0) + (y != nullptr);
    return {maps * rows * channels * size_of(dtype) + 8 * rows + 4 * parameters * channels,
            (y ? 16 : 14) * rows * channels};
  }
};

/// sum = x + drop_path(branch), over `images` samples of `rows` rows each, and y = layer_norm(sum).  What is
/// normalised is the sum as it is stored: the backward pass reads it there.
struct ResidualNormForward {
  static constexpr std::string_view name = "residual_norm.forward";
  DType dtype = DType::f32;
  const void* x = nullptr;
  const void* branch = nullptr;
  const float* gamma = nullptr;
  const float* beta = nullptr;
  void* sum = nullptr;
  void* y = nullptr;
  float* mean = nullptr;  // [images · rows], and so is rstd
  float* rstd = nullptr;
  int64_t images = 0, rows = 0;
  int channels = 0;
  float eps = 1e-5f;
  DropPath drop_path;
  Cost cost() const {
    const int64_t values = images * rows * channels;
    return {4 * values * size_of(dtype) + 8 * (images * rows + channels), 10 * values};
  }
};

/// With ds = dsum + what layer norm makes of dy (see LayerNormBackward): dx = ds, dbranch = ds · scale of the
/// sample.
/// An output that did not reach the loss has no gradient: dsum is null, or dy and then dgamma, dbeta and y,
/// too.  Of the results those are null that nobody wants.  dx may be dsum itself.
/// One of them is no gradient: y is what the forward pass yielded, bit for bit the same, for those who did
/// not keep it (beta may be null without it).  y without dy or beta: std::invalid_argument.
struct ResidualNormBackward {
  static constexpr std::string_view name = "residual_norm.backward";
  DType dtype = DType::f32;
  const void* sum = nullptr;
  const float* gamma = nullptr;
  const float* beta = nullptr;
  const float* mean = nullptr;
  const float* rstd = nullptr;
  const void* dsum = nullptr;
  const void* dy = nullptr;
  void* y = nullptr;
  void* dx = nullptr;
  void* dbranch = nullptr;
  float* dgamma = nullptr;
  float* dbeta = nullptr;
  int64_t images = 0, rows = 0;
  int channels = 0;
  DropPath drop_path;
  bool accumulate_parameters = false;
  Cost cost() const {
    const int64_t values = images * rows * channels;
    const int64_t maps =
        (dy ? 2 : 0) + (dsum != nullptr) + (dx != nullptr) + (dbranch != nullptr) + (y != nullptr);
    const int64_t parameters = (dy ? 1 : 0) + (dgamma ? (accumulate_parameters ? 4 : 2) : 0) + (y != nullptr);
    const int64_t operations = (dy ? 14 : 0) + (dsum != nullptr) + (dbranch != nullptr) + (y ? 2 : 0);
    return {maps * values * size_of(dtype) + (dy ? 8 * images * rows : 0) + 4 * parameters * channels,
            operations * values};
  }
};

/// Two in a row: z = layer_norm(x), y = layer_norm(z).  What is normalised again is z as it is stored, so
/// that both have the bits of two LayerNormForward.
struct NormPairForward {
  static constexpr std::string_view name = "norm_pair.forward";
  struct Norm {
    const float* gamma = nullptr;
    const float* beta = nullptr;
    float* mean = nullptr;  // [rows], and so is rstd
    float* rstd = nullptr;
    float eps = 1e-5f;
  };
  DType dtype = DType::f32;
  const void* x = nullptr;
  Norm first, second;
  void* z = nullptr;
  void* y = nullptr;
  int64_t rows = 0;
  int channels = 0;
  Cost cost() const {
    return {3 * rows * channels * size_of(dtype) + 16 * (rows + channels), 16 * rows * channels};
  }
};

/// dx = what the first norm makes of dz + what the second makes of dy (see LayerNormBackward); that sum is
/// not rounded to storage.  z, which nobody needs to keep, comes from x again.  One of dz and dy may be null,
/// and dx may be dz itself. y is what the forward pass yielded, bit for bit the same, for those who did not
/// keep it; or null, and then the second beta may be null.  y without dy or that, or neither dz nor dy:
/// std::invalid_argument. There are no gradients of gamma and beta: who wants them runs ResidualNormBackward,
/// then LayerNormBackward.
struct NormPairBackward {
  static constexpr std::string_view name = "norm_pair.backward";
  struct Norm {
    const float* gamma = nullptr;
    const float* beta = nullptr;
    const float* mean = nullptr;
    const float* rstd = nullptr;
  };
  DType dtype = DType::f32;
  const void* x = nullptr;
  Norm first, second;
  const void* dz = nullptr;
  const void* dy = nullptr;
  void* y = nullptr;
  void* dx = nullptr;
  int64_t rows = 0;
  int channels = 0;
  Cost cost() const {
    const int64_t values = rows * channels, maps = 2 + (dz != nullptr) + (dy != nullptr) + (y != nullptr);
    const int64_t parameters = 1 + (dy ? 2 : 0) + (y != nullptr);
    const int64_t operations = 14 + (dy ? 4 + 14 : 0) + (dz && dy) + (y ? 2 : 0);
    return {maps * values * size_of(dtype) + (dy ? 16 : 8) * rows + 4 * parameters * channels,
            operations * values};
  }
};

// For those who compute the first two by one kernel: a layer norm alone is one without a branch.
inline ResidualNormForward without_branch(const LayerNormForward& args) {
  return {.dtype = args.dtype,
          .x = args.x,
          .gamma = args.gamma,
          .beta = args.beta,
          .y = args.y,
          .mean = args.mean,
          .rstd = args.rstd,
          .images = 1,
          .rows = args.rows,
          .channels = args.channels,
          .eps = args.eps};
}
inline ResidualNormBackward without_branch(const LayerNormBackward& args) {
  return {.dtype = args.dtype,
          .sum = args.x,
          .gamma = args.gamma,
          .beta = args.beta,
          .mean = args.mean,
          .rstd = args.rstd,
          .dsum = args.accumulate_dx ? args.dx : nullptr,
          .dy = args.dy,
          .y = args.y,
          .dx = args.dx,
          .dgamma = args.dgamma,
          .dbeta = args.dbeta,
          .images = 1,
          .rows = args.rows,
          .channels = args.channels,
          .accumulate_parameters = args.accumulate_parameters};
}

/// Throw std::invalid_argument when results are wanted of something that is not there.
inline void check_results(std::string_view kernel, const ResidualNormBackward& args) {
  if (args.y && !(args.dy && args.beta))
    throw std::invalid_argument(std::string(kernel) + ": y needs dy and beta");
}
inline void check_results(const NormPairBackward& args) {
  if (!args.dz && !args.dy) throw std::invalid_argument(std::string(args.name) + ": neither dz nor dy");
  if (args.y && !(args.dy && args.second.beta))
    throw std::invalid_argument(std::string(args.name) + ": y needs dy and beta");
}

namespace cpu {
void run(const LayerNormForward&, Queue&);
void run(const LayerNormBackward&, Queue&);
void run(const ResidualNormForward&, Queue&);
void run(const ResidualNormBackward&, Queue&);
void run(const NormPairForward&, Queue&);
void run(const NormPairBackward&, Queue&);
}  // namespace cpu
namespace cuda {
void run(const LayerNormForward&, Queue&);
void run(const LayerNormBackward&, Queue&);
void run(const ResidualNormForward&, Queue&);
void run(const ResidualNormBackward&, Queue&);
void run(const NormPairForward&, Queue&);
void run(const NormPairBackward&, Queue&);
}  // namespace cuda
namespace simt {
void run(const LayerNormForward&, Queue&);
void run(const LayerNormBackward&, Queue&);
void run(const ResidualNormForward&, Queue&);
void run(const ResidualNormBackward&, Queue&);
void run(const NormPairForward&, Queue&);
void run(const NormPairBackward&, Queue&);
}  // namespace simt

}  // namespace scrawl
