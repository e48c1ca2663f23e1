#pragma once
// What must hold for every reader of users' files, whatever the file.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "engine/error.h"
#include "tests/fuzz/peak_memory.h"

namespace scrawl {

/// Libraries and small files cost something, however little the file holds.
constexpr size_t kSmallMemory = size_t{256} << 10;

template <typename... Args>
[[noreturn]] void broken(fmt::format_string<Args...> format, Args&&... args) {
  fmt::print(stderr, "{}\n", fmt::format(format, std::forward<Args>(args)...));
  std::abort();
}

/// The largest peak of memory, and the largest share of what was allowed; printed at the end of a program.
class MostMemory {
 public:
  ~MostMemory() {
    if (bytes_ > 0)
      fmt::print(stderr, "memory: {} bytes at most, {} % of what is allowed\n", bytes_, percent_);
  }
  void add(size_t peak, size_t allowed) {
    bytes_ = std::max(bytes_, peak);
    percent_ = std::max(percent_, 100 * peak / allowed);
  }

 private:
  size_t bytes_ = 0, percent_ = 0;
};

inline MostMemory& most_memory() {
  static MostMemory most;
  return most;
}

/// Calls `read` on a file of `size` bytes, which may return or throw an InputError, and may take ten times
/// the file's size of memory beside `decoded` bytes.  Aborts, as fuzzers expect, when it does anything else.
template <typename Read>
void check_reader(size_t size, Read read, size_t decoded = 0) {
  const size_t peak = peak_memory([&] {
    try {
      read();
    } catch (const InputError&) {
    }
  });
  const size_t allowed = kSmallMemory + 10 * size + decoded;
  most_memory().add(peak, allowed);
  if (peak > allowed)
    broken("{} bytes of memory for a file of {}, at most {} are allowed", peak, size, allowed);
}

}  // namespace scrawl
