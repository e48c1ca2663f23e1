#include "engine/torch_file.h"

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

/// Constant part of the limits below, for files so small that their size says little.
constexpr size_t kSmall = 64 << 10;

/// What the values of the pickle may take: eight times its length, but pickles are a small part of a
/// checkpoint.
size_t pickle_limit(size_t file_size) {
  return kSmall + 5 * file_size;
}

/// What tensors may take, with the storage that they are taken from: weights hardly compress, and few tensors
/// share storages.
size_t tensor_limit(size_t file_size) {
  return kSmall + 3 * file_size;
}

Pickle pickle_of(std::string_view stream, size_t file_size, const std::string& where) {
  return {
      stream, {.globals = torch_globals(), .persistent_ids = true, .memory = pickle_limit(file_size)}, where};
}

/// Gathers tensors storage by storage, so that no more than one storage is in memory beside them.
class Gatherer {
 public:
  Gatherer(const Pickle& pickle, size_t file_size, const std::string& where)
      : where_(where), left_(static_cast<int64_t>(tensor_limit(file_size))) {
    for (TorchTensor& tensor : tensors_of(pickle, where_))
      waiting_[tensor.storage.key].push_back(std::move(tensor));
  }

  /// Keys of the storages that tensors wait for.
  std::vector<std::string> keys() const {
    std::vector<std::string> keys;
    for (const auto& [key, tensors] : waiting_) keys.push_back(key);
    return keys;
  }
  /// Bytes that tensors and a storage may still take.
  int64_t left() const { return left_; }

  void take(const std::string& key, std::span<const std::byte> storage) {
    const auto tensors = waiting_.find(key);
    if (tensors == waiting_.end()) return;
    for (const TorchTensor& tensor : tensors->second) {
      HostTensor values = gather(tensor, storage, left_ - static_cast<int64_t>(storage.size()), where_);
      left_ -= static_cast<int64_t>(values.bytes.size());
      file_.tensors.emplace(tensor.name, std::move(values));
    }
    waiting_.erase(tensors);
  }

  TensorFile result() {
    if (!waiting_.empty())
      throw InputError("{}: storage '{}' is missing: damaged", where_, waiting_.begin()->first);
    return std::move(file_);
  }

 private:
  const std::string& where_;
  int64_t left_;
  std::map<std::string, std::vector<TorchTensor>> waiting_;
  TensorFile file_;
};

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

// --- zip ---------------------------------------------------------------------------------------------------

/// The folder that all entries lie in, with its slash.
std::string root_of(const ZipReader& zip, const std::string& where) {
  constexpr std::string_view kPickle = "data.pkl";
  for (const std::string& name : zip.names())
    if (name.ends_with(kPickle) && name.find('/') == name.size() - kPickle.size() - 1)
      return name.substr(0, name.size() - kPickle.size());
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

TensorFile read_zip(const std::filesystem::path& path) {
  const std::string where = path.string();
  const size_t size = std::filesystem::file_size(path);
  const ZipReader zip(path);
  const std::string root = root_of(zip, where);
  if (zip.contains(root + "byteorder") && zip.read(root + "byteorder", kSmall) != "little")
    throw InputError("{}: written on a big-endian machine; such checkpoints are not read", where);

  const std::string stream = zip.read(root + "data.pkl", kSmall + size);
  const Pickle pickle = pickle_of(stream, size, where);
  Gatherer gatherer(pickle, size, where);
  for (const std::string& key : gatherer.keys())
    gatherer.take(key, bytes_of(zip.read(root + "data/" + key, gatherer.left())));
  TensorFile file = gatherer.result();
  if (zip.contains(root + kTorchMetadata))
    file.metadata = metadata_of(zip.read(root + kTorchMetadata, kSmall), where);
  return file;
}

// --- before 1.6 -------------------------------------------------------------------------------------------

/// Goes through the pickles that follow each other, and the storages after them.
class LegacyReader {
 public:
  explicit LegacyReader(const std::filesystem::path& path)
      : where_(path.string()), bytes_(read_file(path)), rest_(bytes_) {
    rest_.remove_prefix(rest_.find(kLegacyMagic) + kLegacyMagic.size());
  }

  TensorFile read() {
    next_pickle();  // the format's version, which never changed
    expect_little_endian(next_pickle().root());
    const Pickle object = next_pickle(), keys = next_pickle();
    std::map<std::string_view, int64_t> element_sizes;
    for (const PickleValue& value : object.values())
      if (value.is(PickleValue::Kind::persistent)) {
        const TorchStorage storage = storage_of(value, where_);
        element_sizes[value.items[0]->items[2]->text] = element_size(storage.dtype);
      }
    Gatherer gatherer(object, bytes_.size(), where_);
    for (const PickleValue* key : keys.root().items) {
      const auto size = element_sizes.find(key->text);
      if (size == element_sizes.end())
        throw InputError("{}: nothing uses storage '{}': damaged", where_, key->text);
      gatherer.take(std::string(key->text), next_storage(size->second));
    }
    return gatherer.result();
  }

 private:
  Pickle next_pickle() {
    Pickle pickle = pickle_of(rest_, bytes_.size(), where_);
    rest_.remove_prefix(pickle.size());
    return pickle;
  }

  void expect_little_endian(const PickleValue& system) const {
    for (size_t i = 0; i + 1 < system.items.size(); i += 2)
      if (system.items[i]->text == "little_endian" && system.items[i + 1]->integer == 0)
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
