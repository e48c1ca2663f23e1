#pragma once
// Files of tensors in memory, whatever format they came from.
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace scrawl {

/// One tensor of a file: `dtype` is the name that safetensors gives it (F32, F16, BF16, F64, U8, I32, I64,
/// BOOL …).
struct HostTensor {
  std::string dtype = "F32";
  std::vector<int64_t> shape;
  std::vector<std::byte> bytes;

  int64_t elements() const;
  /// Values as float, whatever the stored numeric type; throws InputError for a type it does not know.
  std::vector<float> floats() const;
  std::vector<int64_t> integers() const;

  static HostTensor of(std::vector<int64_t> shape, const std::vector<float>& values);
  static HostTensor of(std::vector<int64_t> shape, const std::vector<int64_t>& values);
};

/// Bytes of one element; 0 for a type that is not known.
int64_t element_size(const std::string& dtype);

struct TensorFile {
  std::map<std::string, HostTensor> tensors;
  std::map<std::string, std::string> metadata;

  bool contains(const std::string& name) const { return tensors.contains(name); }
  /// Throws InputError when the tensor is missing.
  const HostTensor& at(const std::string& name) const;
};

/// Reads a safetensors file or a checkpoint of PyTorch, told apart by what they begin with; InputError that
/// names the file for anything else or anything wrong.
TensorFile read_tensor_file(const std::filesystem::path& path);

}  // namespace scrawl
