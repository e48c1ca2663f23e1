// PNG label maps.
#include "data/image.h"
#include "data/label_map.h"
#include "tests/fuzz/input_file.h"
#include "tests/fuzz/reader_check.h"

namespace {

uint32_t number_at(const uint8_t* data) {
  return uint32_t{data[0]} << 24 | uint32_t{data[1]} << 16 | uint32_t{data[2]} << 8 | uint32_t{data[3]};
}

/// The pixels that the header promises; a map may take a byte for each, which is more than ten times the
/// file's size for most scribbles.
size_t pixels_of(const uint8_t* data, size_t size) {
  const size_t pixels = size < 24 ? 0 : size_t{number_at(data + 16)} * number_at(data + 20);
  return pixels > size_t{scrawl::kMostPixels} ? 0 : pixels;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace scrawl;
  const InputFile file(data, size);
  check_reader(
      size, [&] { read_label_map(file.path(), 21); }, pixels_of(data, size));
  return 0;
}
