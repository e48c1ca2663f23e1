#pragma once
#include <algorithm>
#include <cstdint>

#include "kernels/cpu/parallel.h"

namespace scrawl::cpu {

/// The size of equal pieces that cut `count` into `parts`, rounded up to a multiple of 16.
inline int64_t even_piece(int64_t count, int64_t parts) {
  return std::max<int64_t>(16, ceil_div(ceil_div(count, parts), 16) * 16);
}

/// A row-major factor with row stride `ld`, read as stored or transposed.
struct Factor {
  const float* data = nullptr;
  int64_t ld = 0;
  bool transposed = false;
};

/// c[m,n] = alpha · op(a)[m,k] · op(b)[k,n] + beta · c, on the calling thread alone, so that the order of
/// summation depends on sizes only.  beta 0 never reads c.  Throws std::runtime_error when oneDNN refuses.
void gemm(int64_t m, int64_t n, int64_t k, Factor a, Factor b, float beta, float* c, int64_t ldc,
          float alpha = 1.0f);

}  // namespace scrawl::cpu
