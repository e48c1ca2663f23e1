#pragma once
// PyTorch's checkpoints (torch.save): a zip file since version 1.6, a row of pickles and raw storages before.
// See torch/serialization.py.
#include <filesystem>
#include <string_view>

#include "engine/tensor_file.h"

namespace scrawl {

/// Whether a file that begins so is for read_torch_file: a zip file, or PyTorch's magic number.
bool is_torch_file(std::string_view beginning);

/// All tensors of a checkpoint under the keys that lead to them, joined by dots ("state_dict.conv.weight").
/// Nothing is executed; memory is bounded by a small multiple of the file's size.  InputError that names the
/// file for anything that is damaged or asks for more than tensors.
TensorFile read_torch_file(const std::filesystem::path& path);

/// Writes what torch.load gives back as an ordered dictionary of tensors.  Metadata go into an entry that
/// PyTorch does not look at.  Beside the target first, then renamed.
void write_torch_file(const std::filesystem::path& path, const TensorFile& file);

}  // namespace scrawl
