#pragma once
// Zip files, by libzip: entries stored or deflated, beyond 4 GB too.
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

struct zip;

namespace scrawl {

class ZipReader {
 public:
  /// InputError when it is no zip file, or is damaged or cut short.
  explicit ZipReader(const std::filesystem::path& path);

  int64_t size() const { return size_; }
  /// The name of an entry, in the order in which the file lists them.
  std::string_view name(int64_t index) const;
  bool contains(const std::string& name) const;
  /// The unpacked bytes of an entry; InputError when it is missing, damaged, locked, packed in an unknown way
  /// or larger than `limit`.
  std::string read(const std::string& name, uint64_t limit) const;

 private:
  struct Discard {
    void operator()(zip* archive) const;
  };

  std::string where_;
  std::unique_ptr<zip, Discard> archive_;
  int64_t size_ = 0;
};

/// Writes a zip file whose entries are stored as they are, in the given order and without times, so that the
/// same content gives the same bytes.  Beside the target first, then renamed.
void write_zip(const std::filesystem::path& path,
               const std::vector<std::pair<std::string, std::span<const std::byte>>>& entries);

}  // namespace scrawl
