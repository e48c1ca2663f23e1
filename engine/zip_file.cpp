#include "engine/zip_file.h"

#include <zip.h>

#include "engine/error.h"
#include "engine/files.h"

namespace scrawl {
namespace {

std::string text_of(int error_code) {
  zip_error_t error;
  zip_error_init_with_code(&error, error_code);
  std::string text = zip_error_strerror(&error);
  zip_error_fini(&error);
  return text;
}

struct CloseEntry {
  void operator()(zip_file_t* entry) const { zip_fclose(entry); }
};

}  // namespace

void ZipReader::Discard::operator()(zip* archive) const {
  zip_discard(archive);
}

ZipReader::ZipReader(const std::filesystem::path& path) : where_(path.string()) {
  int error = 0;
  archive_.reset(zip_open(path.c_str(), ZIP_RDONLY, &error));
  if (!archive_) throw InputError("{}: cut short, damaged or no zip file: {}", where_, text_of(error));
  size_ = zip_get_num_entries(archive_.get(), 0);
}

std::string_view ZipReader::name(int64_t index) const {
  const char* name = zip_get_name(archive_.get(), index, ZIP_FL_ENC_RAW);
  if (!name) throw InputError("{}: damaged zip file: an entry has no name", where_);
  return name;
}

bool ZipReader::contains(const std::string& name) const {
  return zip_name_locate(archive_.get(), name.c_str(), 0) >= 0;
}

std::string ZipReader::read(const std::string& name, uint64_t limit) const {
  const zip_int64_t index = zip_name_locate(archive_.get(), name.c_str(), 0);
  if (index < 0) throw InputError("{}: entry '{}' is missing", where_, name);
  zip_stat_t stat;
  if (zip_stat_index(archive_.get(), index, 0, &stat) != 0 || !(stat.valid & ZIP_STAT_SIZE))
    throw InputError("{}: damaged zip file: entry '{}' has no size", where_, name);
  if (stat.size > limit)
    throw InputError("{}: entry '{}' unpacks to {} bytes, at most {} are expected in a file of this size",
                     where_, name, stat.size, limit);
  const std::unique_ptr<zip_file_t, CloseEntry> entry(zip_fopen_index(archive_.get(), index, 0));
  if (!entry)
    throw InputError("{}: entry '{}' cannot be read: {}", where_, name, zip_strerror(archive_.get()));
  std::string bytes(stat.size, '\0');
  // One byte more than promised must not be there; asking for it also makes libzip compare the checksum.
  char more = 0;
  if (zip_fread(entry.get(), bytes.data(), bytes.size()) != static_cast<zip_int64_t>(bytes.size()) ||
      zip_fread(entry.get(), &more, 1) != 0)
    throw InputError("{}: entry '{}' is damaged: {}", where_, name, zip_file_strerror(entry.get()));
  return bytes;
}

void write_zip(const std::filesystem::path& path,
               const std::vector<std::pair<std::string, std::span<const std::byte>>>& entries) {
  replace_file(path, [&](const std::filesystem::path& temporary) {
    int error = 0;
    zip_t* archive = zip_open(temporary.c_str(), ZIP_CREATE | ZIP_TRUNCATE, &error);
    if (!archive) throw InputError("{}: cannot be written: {}", path.string(), text_of(error));
    const auto fail = [&] {
      const std::string why = zip_strerror(archive);
      zip_discard(archive);
      throw std::runtime_error(fmt::format("{}: writing failed: {}", path.string(), why));
    };
    for (const auto& [name, bytes] : entries) {
      zip_source_t* source = zip_source_buffer(archive, bytes.data(), bytes.size(), 0);
      const zip_int64_t index = source ? zip_file_add(archive, name.c_str(), source, ZIP_FL_ENC_UTF_8) : -1;
      if (index < 0) {
        zip_source_free(source);
        fail();
      }
      constexpr zip_uint16_t kMidnight = 0, kFirstOfJanuary1980 = 1 << 5 | 1;
      if (zip_set_file_compression(archive, index, ZIP_CM_STORE, 0) != 0 ||
          zip_file_set_dostime(archive, index, kMidnight, kFirstOfJanuary1980, 0) != 0)
        fail();
    }
    if (zip_close(archive) != 0) fail();
  });
}

}  // namespace scrawl
