#pragma once
#include <filesystem>
#include <functional>
#include <ostream>
#include <string>

namespace scrawl {

/// The bytes of a regular file; an InputError that names it when it is missing or cannot be read.
std::string read_file(const std::filesystem::path& path);

/// Calls `write` on a temporary file beside `path`, then renames it there: a reader, or a run that dies,
/// never leaves half a file under the final name.  Creates the parent directory.
void write_file_atomically(const std::filesystem::path& path,
                           const std::function<void(std::ostream&)>& write);

}  // namespace scrawl
