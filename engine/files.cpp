#include "engine/files.h"

#include <unistd.h>

#include <fstream>

#include "engine/error.h"

namespace scrawl {

namespace fs = std::filesystem;

std::string read_file(const fs::path& path) {
  std::error_code error;
  if (!fs::exists(path, error)) throw InputError("{}: no such file", path.string());
  if (!fs::is_regular_file(path, error))
    throw InputError("{}: expected a file, this is not one", path.string());
  std::ifstream in(path, std::ios::binary);
  std::string bytes(fs::file_size(path), '\0');
  in.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  if (!in) throw InputError("{}: cannot be read", path.string());
  return bytes;
}

void write_file_atomically(const fs::path& path, const std::function<void(std::ostream&)>& write) {
  if (path.has_parent_path()) fs::create_directories(path.parent_path());
  fs::path temporary = path;
  temporary += fmt::format(".{}.tmp", getpid());
  try {
    std::ofstream out(temporary, std::ios::binary | std::ios::trunc);
    if (!out) throw InputError("{}: cannot be written", path.string());
    write(out);
    out.close();
    if (!out) throw std::runtime_error(fmt::format("{}: writing failed (disk full?)", path.string()));
    fs::rename(temporary, path);
  } catch (...) {
    std::error_code ignored;
    fs::remove(temporary, ignored);
    throw;
  }
}

}  // namespace scrawl
