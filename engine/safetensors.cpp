#include "engine/safetensors.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>

#include "engine/error.h"
#include "engine/files.h"

namespace scrawl {
namespace {

using Json = nlohmann::json;

/// Product of the dimensions times the element size; nothing when negative or beyond `limit`.
std::optional<int64_t> checked_bytes(const std::vector<int64_t>& shape, int64_t element, int64_t limit) {
  int64_t bytes = element;
  for (int64_t dim : shape) {
    if (dim < 0 || (dim > 0 && bytes > limit / dim)) return std::nullopt;
    bytes *= dim;
  }
  return bytes;
}

/// Takes in a header value by value and keeps only tensors and metadata: as a document in memory, thirty
/// times its size would be no rarity.  Returning true goes on.
class HeaderReader {
 public:
  HeaderReader(std::string_view body, size_t header_size)
      : body_(body), body_left_(size()), metadata_left_(kSmall + 4 * header_size) {}

  TensorFile take() {
    if (!complete_) throw InputError("the safetensors header is not a JSON object");
    std::ranges::sort(ranges_);
    for (size_t i = 1; i < ranges_.size(); ++i)
      if (ranges_[i].first < ranges_[i - 1].second)
        throw InputError("two tensors share the bytes at {}", ranges_[i].first);
    return std::move(file_);
  }

  bool start_object(size_t) {
    if (depth_ >= kInEntry && (in_list() || name_ == kMetadata)) refuse(kMalformed);
    if (depth_++ == kInFile) entry_ = {};
    return true;
  }
  bool end_object() {
    complete_ = --depth_ == 0;
    if (depth_ == kInFile && name_ != kMetadata) finish_tensor();
    return true;
  }
  bool start_array(size_t) {
    if (depth_ == 0) return false;
    if (depth_ == kInFile || name_ == kMetadata || (depth_ > kInEntry && in_list())) refuse(kMalformed);
    if (depth_++ == kInEntry && in_list()) {
      list().clear();
      entry_.has_shape |= field_ == "shape";
    }
    return true;
  }
  bool end_array() {
    --depth_;
    return true;
  }
  bool key(std::string& key) {
    if (depth_ == kInFile) name_ = key;
    if (depth_ == kInEntry) field_ = key;
    return true;
  }

  bool string(std::string& value) {
    if (depth_ == kInEntry && name_ == kMetadata) {
      keep_metadata(value);
    } else if (depth_ == kInEntry && field_ == "dtype") {
      entry_.tensor.dtype = value;
    } else {
      expect_unread();
    }
    return true;
  }
  bool number_integer(Json::number_integer_t value) {
    if (depth_ != kInEntry + 1 || !in_list()) return expect_unread();
    if (list().size() == kMostDimensions) refuse("has a shape of too many dimensions");
    list().push_back(value);
    return true;
  }
  bool number_unsigned(Json::number_unsigned_t value) {
    if (value > INT64_MAX) return expect_unread();
    return number_integer(static_cast<int64_t>(value));
  }
  bool number_float(Json::number_float_t, const std::string&) { return expect_unread(); }
  bool null() { return expect_unread(); }
  bool boolean(bool) { return expect_unread(); }
  bool binary(Json::binary_t&) { return expect_unread(); }
  bool parse_error(size_t, const std::string&, const nlohmann::detail::exception&) {
    complete_ = false;
    return false;
  }

 private:
  // How many brackets are open: {"name": {"dtype": …, "shape": […], "data_offsets": […]}, …}
  static constexpr int kInFile = 1, kInEntry = 2;
  static constexpr std::string_view kMetadata = "__metadata__", kMalformed = "malformed header entry";
  static constexpr size_t kMostDimensions = 8, kSmall = 64 << 10;

  struct Entry {
    HostTensor tensor{.dtype = ""};
    bool has_shape = false;
    std::vector<int64_t> offsets;
  };

  int64_t size() const { return static_cast<int64_t>(body_.size()); }
  bool in_list() const { return name_ != kMetadata && (field_ == "shape" || field_ == "data_offsets"); }

  /// The list that is open, when one is.
  std::vector<int64_t>& list() { return field_ == "shape" ? entry_.tensor.shape : entry_.offsets; }

  [[noreturn]] void refuse(std::string_view why) const { throw InputError("tensor '{}': {}", name_, why); }

  /// Fields that are not known may hold anything.
  bool expect_unread() const {
    if (depth_ == kInFile || (depth_ > 0 && name_ == kMetadata) || (depth_ > kInEntry && in_list()))
      refuse(kMalformed);
    return depth_ > 0;
  }

  void keep_metadata(const std::string& value) {
    constexpr size_t kNode = 128;
    const size_t memory = kNode + field_.size() + value.size();
    if (memory > metadata_left_) refuse("more texts than a header of its size should hold");
    metadata_left_ -= memory;
    file_.metadata[field_] = value;
  }

  void finish_tensor() {
    auto& [tensor, has_shape, offsets] = entry_;
    if (tensor.dtype.empty() || !has_shape || offsets.empty()) refuse(kMalformed);
    const int64_t element = element_size(tensor.dtype);
    if (element == 0) refuse(fmt::format("unknown type '{}'", tensor.dtype));
    if (offsets.size() != 2 || offsets[0] < 0 || offsets[1] < offsets[0] || offsets[1] > size())
      refuse(fmt::format("data_offsets outside the file's {} bytes of data", size()));
    const auto [begin, end] = std::pair(offsets[0], offsets[1]);
    read_tensor(begin, end, element);
    if (!file_.tensors.emplace(name_, std::move(tensor)).second) refuse("occurs twice");
  }

  void read_tensor(int64_t begin, int64_t end, int64_t element) {
    HostTensor& tensor = entry_.tensor;
    const std::optional<int64_t> bytes = checked_bytes(tensor.shape, element, size());
    if (!bytes) refuse("its shape does not fit the file");
    if (*bytes != end - begin)
      refuse(fmt::format("{} bytes stored, its shape needs {}", end - begin, *bytes));
    body_left_ -= *bytes;
    if (body_left_ < 0) refuse("shares its bytes with other tensors");
    if (*bytes == 0) return;
    ranges_.emplace_back(begin, end);
    const auto* first = reinterpret_cast<const std::byte*>(body_.data());
    tensor.bytes.assign(first + begin, first + end);
  }

  std::string_view body_;
  int64_t body_left_;  // bytes that no tensor has taken
  size_t metadata_left_;
  int depth_ = 0;
  bool complete_ = false;
  std::string name_, field_;  // the last key of the file, and of its entry
  Entry entry_;
  std::vector<std::pair<int64_t, int64_t>> ranges_;
  TensorFile file_;
};

}  // namespace

TensorFile read_safetensors(const std::filesystem::path& path) {
  const std::string file = read_file(path);
  uint64_t header_size = 0;
  if (file.size() < sizeof header_size)
    throw InputError("{}: not a safetensors file: {} bytes, expected at least 8", path.string(), file.size());
  std::memcpy(&header_size, file.data(), sizeof header_size);
  if (header_size > file.size() - sizeof header_size)
    throw InputError("{}: not a safetensors file, or cut short: its header claims {} bytes, the file has {}",
                     path.string(), header_size, file.size());
  const auto header = std::string_view(file).substr(sizeof header_size, header_size);
  try {
    HeaderReader reader(std::string_view(file).substr(sizeof header_size + header_size), header_size);
    Json::sax_parse(header, &reader);
    return reader.take();
  } catch (const InputError& error) {
    throw InputError("{}: {}", path.string(), error.what());
  }
}

void write_safetensors(const std::filesystem::path& path, const TensorFile& file) {
  Json header = Json::object();
  if (!file.metadata.empty()) header["__metadata__"] = file.metadata;
  int64_t offset = 0;
  for (const auto& [name, tensor] : file.tensors) {
    const int64_t end = offset + static_cast<int64_t>(tensor.bytes.size());
    header[name] = {{"dtype", tensor.dtype}, {"shape", tensor.shape}, {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');  // keeps the values aligned for readers that map the file
  const uint64_t header_size = text.size();
  write_file_atomically(path, [&](std::ostream& out) {
    out.write(reinterpret_cast<const char*>(&header_size), sizeof header_size);
    out.write(text.data(), static_cast<std::streamsize>(text.size()));
    for (const auto& [name, tensor] : file.tensors)
      out.write(reinterpret_cast<const char*>(tensor.bytes.data()),
                static_cast<std::streamsize>(tensor.bytes.size()));
  });
}

}  // namespace scrawl
