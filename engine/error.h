#pragma once
// Two kinds of error reach main: bad input, which the user can mend (one line, exit code 2), and any other
// std::exception, a failure of ours or of the machine (exit code 1).
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <stdexcept>

namespace scrawl {

/// What the user gave cannot be used.  The message says what, where, what was expected and what was found.
struct InputError : std::runtime_error {
  using std::runtime_error::runtime_error;
  template <typename... Args>
  explicit InputError(fmt::format_string<Args...> format, Args&&... args)
      : std::runtime_error(fmt::format(format, std::forward<Args>(args)...)) {}
};

/// A device has no more memory.
struct OutOfMemory : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Throws std::invalid_argument with the formatted message unless `condition` holds: for calls between our
/// own parts (shapes of an operation, say).
template <typename... Args>
void require(bool condition, fmt::format_string<Args...> format, Args&&... args) {
  if (!condition) throw std::invalid_argument(fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace scrawl
