#include "engine/files.h"

#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <sstream>

#include "engine/error.h"

namespace scrawl {

namespace fs = std::filesystem;

std::string read_beginning(const fs::path& path, size_t count) {
  std::error_code error;
  if (!fs::exists(path, error)) throw InputError("{}: no such file", path.string());
  if (!fs::is_regular_file(path, error))
    throw InputError("{}: expected a file, this is not one", path.string());
  std::ifstream in(path, std::ios::binary);
  std::string bytes(std::min<uintmax_t>(count, fs::file_size(path)), '\0');
  in.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  if (!in) throw InputError("{}: cannot be read", path.string());
  return bytes;
}

std::string read_file(const fs::path& path) {
  return read_beginning(path, SIZE_MAX);
}

std::vector<std::string> read_lines(const fs::path& path) {
  std::string text = read_file(path);
  if (text.starts_with("\xEF\xBB\xBF")) text.erase(0, 3);
  std::istringstream in(text);
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) {
    const size_t first = line.find_first_not_of(" \t\r");
    if (first == std::string::npos) continue;
    lines.push_back(line.substr(first, line.find_last_not_of(" \t\r") + 1 - first));
  }
  return lines;
}

std::vector<fs::path> list_files(const fs::path& folder, const std::string& extension) {
  std::error_code error;
  if (!fs::is_directory(folder, error)) throw InputError("{}: no such folder", folder.string());
  std::vector<fs::path> files;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, error)) {
    if (entry.path().extension() == extension && entry.is_regular_file(error)) files.push_back(entry.path());
  }
  if (error) throw InputError("{}: cannot be read: {}", folder.string(), error.message());
  if (files.empty()) throw InputError("{}: holds no {} files", folder.string(), extension);
  std::ranges::sort(files);
  return files;
}

void make_directories(const fs::path& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) throw InputError("{}: this folder cannot be created: {}", path.string(), error.message());
}

namespace {

/// The name to write `path` under, next to those of other processes.
fs::path temporary_name(const fs::path& path) {
  return path.string() + fmt::format(".{}.tmp", getpid());
}

bool is_temporary_name(std::string_view name, std::string_view of) {
  if (!name.starts_with(of)) return false;
  name.remove_prefix(of.size());
  constexpr std::string_view kEnd = ".tmp";
  if (!name.starts_with('.') || !name.ends_with(kEnd) || name.size() < 2 + kEnd.size()) return false;
  const std::string_view process = name.substr(1, name.size() - 1 - kEnd.size());
  return std::ranges::all_of(process, [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace

void replace_file(const fs::path& path, const std::function<void(const fs::path& temporary)>& write) {
  std::error_code error;
  if (fs::is_directory(path, error))
    throw InputError("{}: expected the name of a file to write, this is a folder", path.string());
  if (path.has_parent_path()) make_directories(path.parent_path());
  const fs::path temporary = temporary_name(path);
  try {
    write(temporary);
    fs::rename(temporary, path);
  } catch (...) {
    fs::remove(temporary, error);
    throw;
  }
}

void remove_temporaries(const fs::path& path) {
  const fs::path folder = path.has_parent_path() ? path.parent_path() : fs::path(".");
  std::error_code error;
  std::vector<fs::path> left;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, error))
    if (is_temporary_name(entry.path().filename().string(), path.filename().string()))
      left.push_back(entry.path());
  for (const fs::path& file : left) fs::remove(file, error);
}

void write_file_atomically(const fs::path& path, const std::function<void(std::ostream&)>& write) {
  replace_file(path, [&](const fs::path& temporary) {
    std::ofstream out(temporary, std::ios::binary | std::ios::trunc);
    if (!out) throw InputError("{}: cannot be written", path.string());
    write(out);
    out.close();
    if (!out) throw std::runtime_error(fmt::format("{}: writing failed (disk full?)", path.string()));
  });
}

void write_folder_atomically(const fs::path& path, const std::function<void(const fs::path&)>& fill) {
  std::error_code error;
  fs::path target = fs::weakly_canonical(fs::absolute(path), error);
  if (target.filename().empty()) target = target.parent_path();  // "DIR/" is "DIR"
  if (fs::exists(target, error) && !fs::is_directory(target, error))
    throw InputError("{}: expected a folder to write to, this is a file", path.string());
  if (fs::is_directory(target, error) && !fs::is_empty(target, error))
    throw InputError("{}: this folder is not empty; name another one", path.string());
  const fs::path temporary = temporary_name(target);
  const auto require_success = [&] {
    if (error) throw InputError("{}: this folder cannot be created: {}", path.string(), error.message());
  };
  try {
    fs::create_directories(temporary, error);
    require_success();
    fill(temporary);
    fs::rename(temporary, target, error);
    require_success();
  } catch (...) {
    fs::remove_all(temporary, error);
    throw;
  }
}

}  // namespace scrawl
