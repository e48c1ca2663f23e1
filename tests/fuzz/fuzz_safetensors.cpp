// Safetensors files, with what checkpoints of this program say of themselves in their metadata.
#include "engine/safetensors.h"
#include "tests/fuzz/input_file.h"
#include "tests/fuzz/reader_check.h"
#include "tests/fuzz/tensor_use.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace scrawl;
  const InputFile file(data, size);
  TensorFile tensors;
  check_reader(size, [&] { tensors = read_safetensors(file.path()); });
  check_reader(
      size, [&] { use(tensors); }, decoded_size(size));
  return 0;
}
