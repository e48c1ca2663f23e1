#pragma once
// What PyTorch's checkpoints pickle: dictionaries of tensors, each a view of a storage that lies outside the
// pickle.  See torch/_utils.py (_rebuild_tensor_v2) and torch/serialization.py (persistent_id).
#include <map>
#include <span>
#include <string>
#include <vector>

#include "engine/pickle.h"
#include "engine/tensor_file.h"

namespace scrawl {

/// The entry of a zip file for metadata, JSON of texts by name; PyTorch does not look at it.
inline constexpr const char* kTorchMetadata = "extra/metadata.json";

/// A storage, by the key under which the checkpoint keeps its bytes.
struct TorchStorage {
  std::string key;
  std::string dtype;  // as HostTensor names it
};

/// A tensor, before its storage is read.
struct TorchTensor {
  std::string name;  // the keys that lead to it, joined by dots
  TorchStorage storage;
  int64_t offset = 0;  // in elements, as are the strides
  std::vector<int64_t> shape, strides;
};

/// The pickles of a checkpoint read nothing but these; see PickleRules.
std::span<const std::string_view> torch_globals();

/// PyTorch's class of the storages that hold a type: "FloatStorage" for "F32".
std::string storage_class(const std::string& dtype);

/// The storage that a persistent id stands for; InputError for any other id.
TorchStorage storage_of(PickleValue persistent, const std::string& where);

/// Tensors by the key of their storage.
using TorchTensors = std::multimap<std::string, TorchTensor>;

/// All tensors in the dictionaries and lists of a checkpoint; what else is there is passed over.  `memory` is
/// what may be taken, and becomes what is left of it: many names may share a long beginning.  InputError,
/// starting with `where`, for tensors in a form that PyTorch does not write and for dictionaries that nest
/// without end.
TorchTensors tensors_of(const Pickle& pickle, int64_t& memory, const std::string& where);

/// The values of a tensor, contiguous.  InputError when it reaches beyond its storage or takes more than
/// `limit` bytes.
HostTensor gather(const TorchTensor& tensor, std::span<const std::byte> storage, int64_t limit,
                  const std::string& where);

}  // namespace scrawl
