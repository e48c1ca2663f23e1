#include "engine/torch_file.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <nlohmann/json.hpp>

#include "engine/error.h"
#include "engine/files.h"
#include "engine/torch_tensors.h"
#include "engine/zip_file.h"

namespace scrawl {
namespace {

static_assert(std::endian::native == std::endian::little);  // as the files are

constexpr std::string_view kZipMagic = "PK\x03\x04";
/// The integer 0x1950a86a20f9469cfc6c, pickled.
constexpr std::string_view kLegacyMagic{"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.", 13};
constexpr size_t kLegacyMagicWithin = 32;  // bytes: a protocol, and in later ones a frame, come before it

/// What small parts of a file may take, and all of a file so small that its size says little.
constexpr size_t kSmall = 64 << 10;

/// The memory that all that comes out of a file may take together, its pickles, which take twice their length
/// and are a small part of it, and its tensors: weights hardly compress, and few tensors share storages.
class Budget {
 public:
  Budget(size_t file_size, const std::string& where)
      : left_(static_cast<int64_t>(2 * kSmall + 9 * file_size)), where_(where) {}

  void spend(size_t bytes) {
    left_ -= static_cast<int64_t>(bytes);
    if (left_ < 0) throw InputError("{}: holds more than a file of its size should", where_);
  }
  int64_t& left() { return left_; }

  /// Reads a pickle and spends what its values take.
  Pickle read_pickle(std::string_view stream) {
    const PickleRules rules{torch_globals(), /*persistent_ids=*/true, static_cast<size_t>(left_)};
    Pickle pickle(stream, rules, where_);
    spend(pickle.memory());
    return pickle;
  }

 private:
  int64_t left_;
  const std::string& where_;
};

/// Gathers tensors storage by storage, so that no more than one storage is in memory beside them.
class Gatherer {
 public:
  Gatherer(const Pickle& pickle, Budget& budget, const std::string& where)
      : where_(where), budget_(budget), waiting_(tensors_of(pickle, budget.left(), where)) {}

  /// The key of a storage that tensors wait for; null when there is none.
  const std::string* next() const { return waiting_.empty() ? nullptr : &waiting_.begin()->first; }

  void take(const std::string& key, std::span<const std::byte> storage) {
    constexpr size_t kNode = 64;
    const auto [first, last] = waiting_.equal_range(key);
    for (auto i = first; i != last; ++i) {
      const TorchTensor& tensor = i->second;
      HostTensor values =
          gather(tensor, storage, budget_.left() - static_cast<int64_t>(storage.size()), where_);
      budget_.spend(kNode + sizeof(decltype(file_.tensors)::value_type) + tensor.name.size() +
                    values.bytes.size());
      if (!file_.tensors.emplace(tensor.name, std::move(values)).second)
        throw InputError("{}: tensor '{}' occurs twice", where_, tensor.name);
    }
    waiting_.erase(first, last);
  }

  TensorFile result() {
    if (next()) throw InputError("{}: storage '{}' is missing: damaged", where_, *next());
    return std::move(file_);
  }

 private:
  const std::string& where_;
  Budget& budget_;
  TorchTensors waiting_;
  TensorFile file_;
};

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

// --- zip ---------------------------------------------------------------------------------------------------

/// The folder that all entries lie in, with its slash.
std::string root_of(const ZipReader& zip, const std::string& where) {
  constexpr std::string_view kPickle = "data.pkl";
  for (int64_t i = 0; i < zip.size(); ++i) {
    const std::string_view name = zip.name(i);
    if (name.ends_with(kPickle) && name.find('/') == name.size() - kPickle.size() - 1)
      return std::string(name.substr(0, name.size() - kPickle.size()));
  }
  throw InputError("{}: a zip file, but no PyTorch checkpoint: it has no data.pkl", where);
}

std::map<std::string, std::string> metadata_of(const std::string& text, const std::string& where) {
  const auto json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  try {
    return json.get<std::map<std::string, std::string>>();
  } catch (const nlohmann::json::exception&) {
    throw InputError("{}: damaged {}: expected texts by name", where, kTorchMetadata);
  }
}

/// What libzip takes to remember an entry, and what a JSON document takes for each byte.
constexpr size_t kZipEntry = 320, kDocument = 32;

TensorFile read_zip(const std::filesystem::path& path) {
  const std::string where = path.string();
  const size_t size = std::filesystem::file_size(path);
  const ZipReader zip(path);
  const std::string root = root_of(zip, where);
  if (zip.contains(root + "byteorder") && zip.read(root + "byteorder", kSmall) != "little")
    throw InputError("{}: written on a big-endian machine; such checkpoints are not read", where);

  Budget budget(size, where);
  budget.spend(kZipEntry * static_cast<size_t>(zip.size()));
  const std::string stream = zip.read(root + "data.pkl", budget.left());
  budget.spend(stream.size());
  const Pickle pickle = budget.read_pickle(stream);
  Gatherer gatherer(pickle, budget, where);
  int64_t unpacked = budget.left();  // in all: thousands of entries may share one run of packed bytes
  while (gatherer.next()) {
    const std::string key = *gatherer.next();
    const std::string storage = zip.read(root + "data/" + key, std::min(unpacked, budget.left()));
    unpacked -= static_cast<int64_t>(storage.size());
    gatherer.take(key, bytes_of(storage));
  }
  TensorFile file = gatherer.result();
  if (zip.contains(root + kTorchMetadata))
    file.metadata = metadata_of(
        zip.read(root + kTorchMetadata, std::min<uint64_t>(kSmall, budget.left() / kDocument)), where);
  return file;
}

// --- before 1.6 -------------------------------------------------------------------------------------------

/// Goes through the pickles that follow each other, and the storages after them.
class LegacyReader {
 public:
  explicit LegacyReader(const std::filesystem::path& path)
      : where_(path.string()), bytes_(read_file(path)), rest_(bytes_), budget_(bytes_.size(), where_) {
    rest_.remove_prefix(rest_.find(kLegacyMagic) + kLegacyMagic.size());
  }

  TensorFile read() {
    next_pickle();  // the format's version, which never changed
    expect_little_endian(next_pickle().root());
    const Pickle object = next_pickle(), keys = next_pickle();
    budget_.spend(kNode * object.persistent_count());
    std::map<std::string_view, int64_t> element_sizes;
    for (size_t i = 0; i < object.persistent_count(); ++i) {
      const PickleValue value = object.persistent(i);
      const TorchStorage storage = storage_of(value, where_);
      element_sizes[value[0][2].text()] = element_size(storage.dtype);
    }
    Gatherer gatherer(object, budget_, where_);
    for (size_t i = 0; i < keys.root().size(); ++i) {
      const std::string_view key = keys.root()[i].text();
      const auto size = element_sizes.find(key);
      if (size == element_sizes.end())
        throw InputError("{}: nothing uses storage '{}': damaged", where_, key);
      gatherer.take(std::string(key), next_storage(size->second));
    }
    return gatherer.result();
  }

 private:
  static constexpr size_t kNode = 64;  // of a map

  Pickle next_pickle() {
    Pickle pickle = budget_.read_pickle(rest_);
    rest_.remove_prefix(pickle.size());
    return pickle;
  }

  void expect_little_endian(PickleValue system) const {
    for (size_t i = 0; i + 1 < system.size(); i += 2)
      if (system[i].text() == "little_endian" && system[i + 1].is(PickleValue::Kind::boolean) &&
          system[i + 1].integer() == 0)
        throw InputError("{}: written on a big-endian machine; such checkpoints are not read", where_);
  }

  /// The number of elements, then their bytes.
  std::span<const std::byte> next_storage(int64_t element) {
    uint64_t count = 0;
    const bool counted = rest_.size() >= sizeof count;
    if (counted) std::memcpy(&count, rest_.data(), sizeof count);
    if (!counted || count > (rest_.size() - sizeof count) / element)
      throw InputError("{}: a storage has fewer bytes than it should: cut short or damaged", where_);
    const std::string_view bytes = rest_.substr(sizeof count, count * element);
    rest_.remove_prefix(sizeof count + bytes.size());
    return bytes_of(bytes);
  }

  std::string where_, bytes_;
  std::string_view rest_;
  Budget budget_;
};

}  // namespace

bool is_torch_file(std::string_view beginning) {
  return beginning.starts_with(kZipMagic) ||
         (beginning.starts_with('\x80') &&
          beginning.substr(0, kLegacyMagicWithin).find(kLegacyMagic) != std::string_view::npos);
}

TensorFile read_torch_file(const std::filesystem::path& path) {
  const std::string beginning = read_beginning(path, kLegacyMagicWithin);
  require(is_torch_file(beginning), "{}: not a PyTorch checkpoint", path.string());
  return beginning.starts_with(kZipMagic) ? read_zip(path) : LegacyReader(path).read();
}

}  // namespace scrawl
