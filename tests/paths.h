#pragma once
#include <filesystem>

namespace scrawl {

/// The folder with goldens/ and fixtures/: where the tests were built, or SCRAWL_TEST_DIR of the environment
/// for tests that were carried to another machine.
std::filesystem::path test_directory();

inline std::filesystem::path golden(const char* name) { return test_directory() / "goldens" / name; }
inline std::filesystem::path fixture(const char* name) { return test_directory() / "fixtures" / name; }

/// The scrawl program: beside these tests' build, or SCRAWL_BINARY of the environment.
std::filesystem::path scrawl_binary();

}  // namespace scrawl
