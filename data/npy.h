#pragma once
// NumPy's .npy files: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace scrawl {

/// An array; `dtype` in NumPy's words ("<f4", "|u1", …).  `values` are in the file's order, which is by
/// columns when `fortran_order`.  An array of objects ("|O") has no values here: see data/tags.h.
struct Npy {
  std::string dtype;
  bool fortran_order = false;
  std::vector<int64_t> shape;
  std::vector<double> values;
};

/// Any array of booleans, integers or floats; InputError that names the file for anything else.
Npy read_npy(const std::filesystem::path& path);

/// Whether a file begins as one of NumPy's does.
inline bool is_npy(std::string_view beginning) {
  return beginning.starts_with("\x93NUMPY");
}

/// True for an array of Python objects, which read_tags may know.
bool holds_objects(const std::filesystem::path& path);

/// What a file says of its array, and where the values begin.
struct NpyHeader {
  std::string dtype;
  bool fortran_order = false;
  std::vector<int64_t> shape;
  size_t data = 0;
};
NpyHeader parse_npy_header(std::string_view file, const std::string& name);

/// The values in `bytes`, whose count must fit the shape; `dtype` begins with the byte order.
std::vector<double> decode_npy(std::string_view bytes, const std::string& dtype,
                               const std::vector<int64_t>& shape, const std::string& name);

}  // namespace scrawl
