#pragma once
#include <filesystem>
#include <functional>
#include <ostream>
#include <string>
#include <vector>

namespace scrawl {

/// The bytes of a regular file; an InputError that names it when it is missing or cannot be read.
std::string read_file(const std::filesystem::path& path);

/// Its first bytes, at most `count`.
std::string read_beginning(const std::filesystem::path& path, size_t count);

/// The lines of a text file that say something, without blanks at either end, carriage returns or a byte
/// order mark, which editors on Windows leave behind.
std::vector<std::string> read_lines(const std::filesystem::path& path);

/// The files of a folder (not of those below it) with this extension, sorted; InputError when there is none.
std::vector<std::filesystem::path> list_files(const std::filesystem::path& folder,
                                              const std::string& extension);

/// The folder and those above it; InputError when that is not possible.
void make_directories(const std::filesystem::path& path);

/// Has `write` make a file under a temporary name beside `path`, then renames it there: a reader, or a run
/// that dies, never leaves half a file under the final name.  Creates the parent directory.  InputError when
/// `path` is a folder.
void replace_file(const std::filesystem::path& path,
                  const std::function<void(const std::filesystem::path& temporary)>& write);

/// The same by way of a stream.  InputError when the place cannot be written to at all.
void write_file_atomically(const std::filesystem::path& path,
                           const std::function<void(std::ostream&)>& write);

/// Removes what a process that was killed within replace_file left beside `path`.  Only for whoever knows
/// that no other process is writing it.
void remove_temporaries(const std::filesystem::path& path);

/// Calls `fill` with a new folder beside `path`, then renames it there: the folder appears with all that
/// belongs in it or not at all.  InputError when `path` holds something already or cannot be made.
void write_folder_atomically(const std::filesystem::path& path,
                             const std::function<void(const std::filesystem::path&)>& fill);

}  // namespace scrawl
