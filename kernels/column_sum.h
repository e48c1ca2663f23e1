#pragma once
#include <string_view>

#include "kernels/cost.h"
#include "kernels/dtype.h"
#include "kernels/queue.h"

namespace scrawl {

/// sum[column] (+)= Σ_row x[row, column], fp32, in an order that does not depend on the number of threads.
struct ColumnSum {
  static constexpr std::string_view name = "column_sum";
  DType dtype = DType::f32;
  const void* x = nullptr;
  float* sum = nullptr;
  int64_t rows = 0;
  int columns = 0;
  bool accumulate = false;
  Cost cost() const { return {rows * columns * size_of(dtype), rows * columns}; }
};

namespace cpu {
void run(const ColumnSum&, Queue&);
}
namespace cuda {
void run(const ColumnSum&, Queue&);
}
namespace simt {
void run(const ColumnSum&, Queue&);
}

}  // namespace scrawl
