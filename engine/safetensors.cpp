#include "engine/safetensors.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "engine/error.h"
#include "engine/files.h"

namespace scrawl {
namespace {

using Json = nlohmann::json;

/// Product of the dimensions times the element size; throws when negative or beyond `limit`.
int64_t checked_bytes(const std::vector<int64_t>& shape, int64_t element, int64_t limit) {
  int64_t bytes = element;
  for (int64_t dim : shape) {
    if (dim < 0 || (dim > 0 && bytes > limit / dim)) throw InputError("shape does not fit the file");
    bytes *= dim;
  }
  return bytes;
}

using Range = std::pair<int64_t, int64_t>;

HostTensor parse_entry(const Json& entry, const char* body, int64_t body_size, std::vector<Range>& ranges) {
  HostTensor tensor;
  tensor.dtype = entry.at("dtype").get<std::string>();
  tensor.shape = entry.at("shape").get<std::vector<int64_t>>();
  const auto offsets = entry.at("data_offsets").get<std::vector<int64_t>>();
  const int64_t element = element_size(tensor.dtype);
  if (element == 0) throw InputError("unknown type '{}'", tensor.dtype);
  if (offsets.size() != 2 || offsets[0] < 0 || offsets[1] < offsets[0] || offsets[1] > body_size)
    throw InputError("data_offsets outside the file's {} bytes of data", body_size);
  const int64_t bytes = checked_bytes(tensor.shape, element, body_size);
  if (bytes != offsets[1] - offsets[0])
    throw InputError("{} bytes stored, its shape needs {}", offsets[1] - offsets[0], bytes);
  if (bytes > 0) ranges.emplace_back(offsets[0], offsets[1]);
  tensor.bytes.resize(bytes);
  if (bytes > 0) std::memcpy(tensor.bytes.data(), body + offsets[0], bytes);
  return tensor;
}

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
  const char* body = file.data() + sizeof header_size + header_size;
  const int64_t body_size = file.data() + file.size() - body;
  const Json header =
      Json::parse(file.data() + sizeof header_size, body, nullptr, /*allow_exceptions=*/false);
  if (!header.is_object()) throw InputError("{}: the safetensors header is not a JSON object", path.string());

  TensorFile result;
  std::vector<Range> ranges;
  for (const auto& [name, entry] : header.items()) {
    try {
      if (name == "__metadata__")
        result.metadata = entry.get<std::map<std::string, std::string>>();
      else
        result.tensors.emplace(name, parse_entry(entry, body, body_size, ranges));
    } catch (const InputError& error) {
      throw InputError("{}: tensor '{}': {}", path.string(), name, error.what());
    } catch (const Json::exception&) {
      throw InputError("{}: tensor '{}': malformed header entry", path.string(), name);
    }
  }
  std::sort(ranges.begin(), ranges.end());
  for (size_t i = 1; i < ranges.size(); ++i)
    if (ranges[i].first < ranges[i - 1].second)
      throw InputError("{}: two tensors share the bytes at {}", path.string(), ranges[i].first);
  return result;
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
