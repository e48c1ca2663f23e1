#pragma once
// Products and the norms beside them in one kernel each way, on Hopper; see linear_norm_wgmma.cu.
#include "kernels/linear_norm.h"

namespace scrawl::cuda {
/// Whether one kernel, which only compute capability 9.0 has, takes both.
bool fits_rows(const LinearNormForward&);
bool fits_rows(const LinearNormBackward&);
void run_by_rows(const LinearNormForward&, Queue&);
void run_by_rows(const LinearNormBackward&, Queue&);
}  // namespace scrawl::cuda

namespace scrawl::simt {
bool fits_rows(const LinearNormForward&);
bool fits_rows(const LinearNormBackward&);
void run_by_rows(const LinearNormForward&, Queue&);
void run_by_rows(const LinearNormBackward&, Queue&);
}  // namespace scrawl::simt
