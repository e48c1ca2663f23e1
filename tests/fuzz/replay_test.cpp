// The inputs that fuzzing begins with, those that it found, and some that would take much memory, through the
// targets that they are for; with the address sanitizer, memory is counted too.  See docs/fuzzing.md.
#include <gtest/gtest.h>

#include <filesystem>
#include <functional>

#include "engine/files.h"
#include "tests/fuzz/greedy_inputs.h"
#include "tests/paths.h"

extern "C" {
int fuzz_config(const uint8_t*, size_t);
int fuzz_json(const uint8_t*, size_t);
int fuzz_label_png(const uint8_t*, size_t);
int fuzz_npy(const uint8_t*, size_t);
int fuzz_pth(const uint8_t*, size_t);
int fuzz_safetensors(const uint8_t*, size_t);
int fuzz_xml(const uint8_t*, size_t);
}

namespace scrawl {
namespace {

struct Target {
  const char* name;
  int (*run)(const uint8_t*, size_t);

  /// Ends the program when a reader does what it must not.
  void operator()(const std::string& input) const {
    run(reinterpret_cast<const uint8_t*>(input.data()), input.size());
  }
};

class FuzzTarget : public testing::TestWithParam<Target> {};

TEST_P(FuzzTarget, TakesItsCorpus) {
  const auto folder = test_directory() / "fuzz" / "corpus" / GetParam().name;
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    SCOPED_TRACE(entry.path());
    GetParam()(read_file(entry.path()));
    ++files;
  }
  EXPECT_GT(files, 0);
}

TEST_P(FuzzTarget, TakesTheFixturesOfItsFormat) {
  for (const auto& entry : std::filesystem::recursive_directory_iterator(test_directory() / "fixtures")) {
    if (entry.path().extension() == std::string(".") + GetParam().name) GetParam()(read_file(entry.path()));
  }
}

TEST_P(FuzzTarget, KeepsToItsMemory) {
  for (const std::string& input : greedy_inputs(GetParam().name)) {
    SCOPED_TRACE(input.substr(0, 80));
    GetParam()(input);
  }
}

INSTANTIATE_TEST_SUITE_P(All, FuzzTarget,
                         testing::Values(Target{"config", fuzz_config}, Target{"json", fuzz_json},
                                         Target{"label_png", fuzz_label_png}, Target{"npy", fuzz_npy},
                                         Target{"pth", fuzz_pth}, Target{"safetensors", fuzz_safetensors},
                                         Target{"xml", fuzz_xml}),
                         [](const auto& target) { return std::string(target.param.name); });

}  // namespace
}  // namespace scrawl
