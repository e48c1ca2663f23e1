#pragma once
#include <fmt/format.h>

#include <cstdio>

namespace scrawl {

/// One line for the user on standard error, where progress is shown too; results go to standard output.
template <typename... Args>
void log(fmt::format_string<Args...> format, Args&&... args) {
  fmt::print(stderr, "{}\n", fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace scrawl
