// Configuration files.
#include "tests/fuzz/input_file.h"
#include "tests/fuzz/reader_check.h"
#include "train/config/config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace scrawl;
  const InputFile file(data, size);
  constexpr size_t kYaml = size_t{2} << 20;  // yaml-cpp takes hundreds of bytes a value
  const auto read = [&] {
    const Config config = load_config(file.path());
    const std::string text = describe(config);
    if (describe(parse_config(text, "described")) != text)
      broken("does not come back as described:\n{}", text);
  };
  check_reader(size, read, kYaml);
  return 0;
}
