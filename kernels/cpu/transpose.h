#pragma once
#include <cstdint>

#include "kernels/cpu/queue.h"

namespace scrawl::cpu {

/// out[column·out_ld + row] = in[row·ld + column], on the calling thread.
void transpose(const float* in, int64_t ld, int64_t rows, int64_t columns, float* out, int64_t out_ld);

/// The same with out dense, on all threads.
void transpose(Queue& queue, const float* in, int64_t ld, int64_t rows, int64_t columns, float* out);

}  // namespace scrawl::cpu
