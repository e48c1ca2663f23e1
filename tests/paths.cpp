#include "tests/paths.h"

#include <cstdlib>

namespace scrawl {
namespace {

std::filesystem::path from_environment(const char* variable, const char* built) {
  const char* value = std::getenv(variable);
  return value ? value : built;
}

}  // namespace

std::filesystem::path test_directory() { return from_environment("SCRAWL_TEST_DIR", SCRAWL_TEST_DIR); }

std::filesystem::path scrawl_binary() { return from_environment("SCRAWL_BINARY", SCRAWL_BINARY); }

}  // namespace scrawl
