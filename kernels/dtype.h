#pragma once
#include <cstdint>
#include <string_view>

namespace scrawl {

/// Storage types.  Activations and weights are f32 or bf16; the others hold labels, indices and counters.
enum class DType : uint8_t { f32, bf16, u8, i32, i64 };

constexpr int64_t size_of(DType dtype) {
  switch (dtype) {
    case DType::u8:
      return 1;
    case DType::bf16:
      return 2;
    case DType::f32:
    case DType::i32:
      return 4;
    case DType::i64:
      return 8;
  }
  return 0;
}

constexpr std::string_view name_of(DType dtype) {
  constexpr std::string_view names[] = {"f32", "bf16", "u8", "i32", "i64"};
  return names[static_cast<int>(dtype)];
}

}  // namespace scrawl
