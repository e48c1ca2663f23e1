#pragma once
#include <cstdint>

#include "kernels/cpu/queue.h"

// Long sums in two stages that do not depend on the number of threads: each chunk leaves a partial sum of its
// own, then partial sums are added in order, in double.

namespace scrawl::cpu {

/// sum[column] = Σ_row x[row·ld + column], on the calling thread, by blocks of rows.
void sum_columns(const float* x, int64_t ld, int64_t rows, int64_t columns, float* sum);

/// out[i] (+)= Σ_part partials[part·stride + i] for i in [0, elements), on the calling thread.
void add_partials(const float* partials, int64_t parts, int64_t stride, int64_t elements, float* out,
                  bool accumulate);

/// out[i] (+)= Σ_part partials[part·stride + i] for i in [0, elements), on all threads.
void reduce_partials(Queue& queue, const float* partials, int64_t parts, int64_t stride, int64_t elements,
                     float* out, bool accumulate);

}  // namespace scrawl::cpu
