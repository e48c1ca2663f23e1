#pragma once
#include "engine/tensor_file.h"
#include "train/checkpoint_info.h"

namespace scrawl {

/// Does with the content of a file what loading weights and continuing a run do.
inline void use(const TensorFile& file) {
  for (const auto& [name, tensor] : file.tensors) {
    tensor.floats();
    tensor.integers();
  }
  read_info(file, "file");
}

/// What that may take: eight bytes for each byte of a tensor, and a few megabytes for the little that a
/// checkpoint says of itself, which is read as a document.
inline size_t decoded_size(size_t tensors) {
  return 8 * tensors + (size_t{4} << 20);
}

}  // namespace scrawl
