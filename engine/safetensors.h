#pragma once
// Files of tensors: https://huggingface.co/docs/safetensors — eight bytes of header length, a JSON header
// with name, type, shape and offsets of every tensor, then the raw little-endian values.
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace scrawl {

/// One tensor of a file: `dtype` is the format's own name (F32, F16, BF16, F64, U8, I32, I64, BOOL …).
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

struct SafeTensors {
  std::map<std::string, HostTensor> tensors;
  std::map<std::string, std::string> metadata;

  bool contains(const std::string& name) const { return tensors.contains(name); }
  /// Throws InputError when the tensor is missing.
  const HostTensor& at(const std::string& name) const;
};

/// Reads a whole file.  Every length, offset and shape is checked against the file's size before use;
/// anything wrong is an InputError that names the file and the tensor.
SafeTensors read_safetensors(const std::filesystem::path& path);

/// Writes beside the target and renames, so that a reader never sees half a file.
void write_safetensors(const std::filesystem::path& path, const SafeTensors& file);

}  // namespace scrawl
