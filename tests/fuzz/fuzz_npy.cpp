// .npy files: arrays of numbers, and pickled dictionaries of tags.
#include "data/npy.h"
#include "data/tags.h"
#include "tests/fuzz/input_file.h"
#include "tests/fuzz/reader_check.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace scrawl;
  const InputFile file(data, size);
  check_reader(size, [&] { read_npy(file.path()); });
  check_reader(size, [&] {
    for (const auto& [id, tags] : read_tags(file.path())) present_classes(tags);
  });
  return 0;
}
