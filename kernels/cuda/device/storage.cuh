#pragma once
// From a DType, known when the program runs, to a storage type, known when it is compiled:
//   with_storage(args.dtype, args.name, [&]<typename T>(Storage<T>) { ... });
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>

#include "kernels/bf16.h"
#include "kernels/cuda/device/backend.cuh"
#include "kernels/dtype.h"

namespace scrawl::SCRAWL_GPU {

template <typename T>
struct Storage {};

/// Calls body(Storage<float>{}) or body(Storage<bf16>{}); throws std::invalid_argument for other types.
template <typename Body>
void with_storage(DType dtype, std::string_view kernel, Body body) {
  if (dtype == DType::f32) return body(Storage<float>{});
  if (dtype == DType::bf16) return body(Storage<bf16>{});
  throw std::invalid_argument(std::string(kernel) + ": computes in f32 and bf16, got " +
                              std::string(name_of(dtype)));
}

/// Calls body(std::integral_constant<int, width>) with the widest of 16 bytes, 8 and one value that divides a
/// row of `values`: rows that start at such multiples can be loaded by packs of that many values.
template <typename T, typename Body>
void with_pack_width(int64_t values, Body body) {
  constexpr int widest = 16 / sizeof(T);
  if (values % widest == 0) return body(std::integral_constant<int, widest>{});
  if (values % (widest / 2) == 0) return body(std::integral_constant<int, widest / 2>{});
  return body(std::integral_constant<int, 1>{});
}

}  // namespace scrawl::SCRAWL_GPU
