#pragma once
// NumPy's .npy files: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
#include <cstdint>
#include <filesystem>
#include <string>
#include <unordered_map>
#include <vector>

namespace scrawl {

/// An array; `dtype` in NumPy's words ("<f4", "|u1", …).  `values` are in the file's order, which is by
/// columns when `fortran_order`.  An array of objects ("|O") has no values here: see read_tags.
struct Npy {
  std::string dtype;
  bool fortran_order = false;
  std::vector<int64_t> shape;
  std::vector<double> values;
};

/// Any array of booleans, integers or floats; InputError that names the file for anything else.
Npy read_npy(const std::filesystem::path& path);

/// True for an array of Python objects, which read_tags may know.
bool holds_objects(const std::filesystem::path& path);

/// Image id -> one number a foreground class.
using Tags = std::unordered_map<std::string, std::vector<float>>;

/// Reads a pickled dictionary of label vectors (the cls_labels.npy of many weakly supervised methods).
/// Integer keys are VOC ids without their underscore: 2007000032 becomes "2007_000032".
/// Executes nothing; InputError for any content other than keys, arrays and their types.
Tags read_tags(const std::filesystem::path& path);

}  // namespace scrawl
