#pragma once
#include <fmt/format.h>

#include <string>

namespace scrawl {

/// The head of a .npy file; the values follow it.
inline std::string npy_header(const std::string& dtype, const std::string& shape) {
  const std::string text =
      fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': {}, }}\n", dtype, shape);
  return std::string("\x93NUMPY\x01\x00", 8) + static_cast<char>(text.size()) + '\0' + text;
}

inline const std::string kLittle("\0\0\x80\x3f\0\0\0\x40", 8);  // 1 and 2 as floats
inline const std::string kBig("\x3f\x80\0\0\x40\0\0\0", 8);     // the same in big-endian order

}  // namespace scrawl
