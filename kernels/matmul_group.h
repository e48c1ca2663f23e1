#pragma once
#include <string_view>
#include <vector>

#include "kernels/matmul.h"

namespace scrawl {

/// Products that neither write nor read what another of them writes, in any order or at once: alone each
/// would leave most of a GPU idle.
struct MatMulGroup {
  std::string_view name = "matmul_group";  // says in profiles which operation called
  std::vector<MatMul> products;

  Cost cost() const {
    Cost sum;
    for (const MatMul& product : products) {
      const Cost each = product.cost();
      sum.bytes += each.bytes;
      sum.flops += each.flops;
    }
    return sum;
  }
};

namespace cpu {
void run(const MatMulGroup&, Queue&);
}
namespace cuda {
void run(const MatMulGroup&, Queue&);
/// "cuBLASLt" unless a kernel of our own takes some of the products on this queue.
std::string_view library_of(const MatMulGroup&, const Queue&);
}  // namespace cuda
namespace simt {
void run(const MatMulGroup&, Queue&);
}

}  // namespace scrawl
