#pragma once
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "engine/error.h"
#include "engine/files.h"
#include "tests/paths.h"

namespace scrawl {

/// What the program did with a command line.
struct Outcome {
  int exit_code;
  std::string out, err;
};

/// Runs the program as a user would; what it prints passes through files in `scratch`.
inline Outcome run_program(const std::string& arguments, const std::filesystem::path& scratch) {
  const std::filesystem::path out = scratch / "stdout", err = scratch / "stderr";
  const std::string command =
      fmt::format("{} {} >{} 2>{}", scrawl_binary().string(), arguments, out.string(), err.string());
  const int status = std::system(command.c_str());
  return {WEXITSTATUS(status), read_file(out), read_file(err)};
}

/// Expects bad input to have ended in one line with these words, and exit code 2.
inline void expect_refused(const Outcome& outcome, const std::vector<std::string>& words) {
  EXPECT_EQ(outcome.exit_code, 2) << outcome.err;
  const size_t last = outcome.err.rfind("scrawl: ");
  ASSERT_NE(last, std::string::npos) << outcome.err;
  const std::string line = outcome.err.substr(last);
  EXPECT_EQ(std::count(line.begin(), line.end(), '\n'), 1) << "expected one line: " << line;
  for (const std::string& word : words)
    EXPECT_NE(line.find(word), std::string::npos) << word << " not in: " << line;
}

}  // namespace scrawl
