#pragma once
#include <string_view>

#include "kernels/cost.h"
#include "kernels/dtype.h"
#include "kernels/queue.h"

namespace scrawl {

/// y = x in another storage type, f32 or bf16 (rounded to nearest, ties to even); with `accumulate` y += x.
struct Cast {
  static constexpr std::string_view name = "cast";
  DType from = DType::f32, to = DType::f32;
  const void* x = nullptr;
  void* y = nullptr;
  int64_t elements = 0;
  bool accumulate = false;
  Cost cost() const { return {elements * (size_of(from) + (accumulate ? 2 : 1) * size_of(to)), 0}; }
};

namespace cpu {
void run(const Cast&, Queue&);
}
namespace cuda {
void run(const Cast&, Queue&);
}
namespace simt {
void run(const Cast&, Queue&);
}

}  // namespace scrawl
