#pragma once
// Files of tensors: https://huggingface.co/docs/safetensors — eight bytes of header length, a JSON header
// with name, type, shape and offsets of every tensor, then the raw little-endian values.
#include <filesystem>

#include "engine/tensor_file.h"

namespace scrawl {

/// Reads a whole file.  Every length, offset and shape is checked against the file's size before use;
/// anything wrong is an InputError that names the file and the tensor.
TensorFile read_safetensors(const std::filesystem::path& path);

/// Writes beside the target and renames, so that a reader never sees half a file.
void write_safetensors(const std::filesystem::path& path, const TensorFile& file);

}  // namespace scrawl
