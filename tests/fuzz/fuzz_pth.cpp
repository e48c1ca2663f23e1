// PyTorch's checkpoints, zip and legacy form.
#include "engine/torch_file.h"
#include "tests/fuzz/input_file.h"
#include "tests/fuzz/reader_check.h"
#include "tests/fuzz/tensor_use.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace scrawl;
  const InputFile file(data, size);
  TensorFile tensors;
  check_reader(size, [&] { tensors = read_tensor_file(file.path()); });
  check_reader(
      size, [&] { use(tensors); }, decoded_size(9 * size));  // what may come out of a packed file
  return 0;
}
