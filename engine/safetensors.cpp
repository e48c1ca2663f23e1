#include "engine/safetensors.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "engine/error.h"
#include "engine/files.h"

namespace scrawl {
namespace {

using Json = nlohmann::json;

int64_t size_of(const std::string& dtype) {
  static const std::map<std::string, int64_t> sizes{
      {"F64", 8}, {"F32", 4}, {"F16", 2}, {"BF16", 2}, {"I64", 8}, {"I32", 4}, {"I16", 2},
      {"I8", 1},  {"U64", 8}, {"U32", 4}, {"U16", 2},  {"U8", 1},  {"BOOL", 1}};
  const auto it = sizes.find(dtype);
  return it == sizes.end() ? 0 : it->second;
}

float half_to_float(uint16_t bits) {
  const uint32_t sign = uint32_t{bits & 0x8000u} << 16, exponent = bits >> 10 & 31, mantissa = bits & 1023u;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7F800000u | mantissa << 13);
  if (exponent != 0) return std::bit_cast<float>(sign | (exponent + 112) << 23 | mantissa << 13);
  const float subnormal = static_cast<float>(mantissa) * 0x1p-24f;
  return sign ? -subnormal : subnormal;
}

float bfloat_to_float(uint16_t bits) {
  return std::bit_cast<float>(uint32_t{bits} << 16);
}

template <typename Stored, typename Out, typename Convert>
std::vector<Out> convert(const std::vector<std::byte>& bytes, Convert to) {
  std::vector<Out> out(bytes.size() / sizeof(Stored));
  for (size_t i = 0; i < out.size(); ++i) {
    Stored value;
    std::memcpy(&value, bytes.data() + i * sizeof(Stored), sizeof(Stored));
    out[i] = to(value);
  }
  return out;
}

template <typename Out>
std::vector<Out> values(const HostTensor& tensor) {
  const auto cast = [](auto value) { return static_cast<Out>(value); };
  const auto& [dtype, shape, bytes] = tensor;
  if (dtype == "F32") return convert<float, Out>(bytes, cast);
  if (dtype == "F64") return convert<double, Out>(bytes, cast);
  if (dtype == "F16") return convert<uint16_t, Out>(bytes, [&](auto v) { return cast(half_to_float(v)); });
  if (dtype == "BF16") return convert<uint16_t, Out>(bytes, [&](auto v) { return cast(bfloat_to_float(v)); });
  if (dtype == "I64") return convert<int64_t, Out>(bytes, cast);
  if (dtype == "I32") return convert<int32_t, Out>(bytes, cast);
  if (dtype == "I16") return convert<int16_t, Out>(bytes, cast);
  if (dtype == "I8") return convert<int8_t, Out>(bytes, cast);
  if (dtype == "U64") return convert<uint64_t, Out>(bytes, cast);
  if (dtype == "U32") return convert<uint32_t, Out>(bytes, cast);
  if (dtype == "U16") return convert<uint16_t, Out>(bytes, cast);
  if (dtype == "U8" || dtype == "BOOL") return convert<uint8_t, Out>(bytes, cast);
  throw InputError("tensor of unknown type '{}'", dtype);
}

template <typename T>
HostTensor tensor_of(std::string dtype, std::vector<int64_t> shape, const std::vector<T>& values) {
  HostTensor tensor{std::move(dtype), std::move(shape), std::vector<std::byte>(values.size() * sizeof(T))};
  require(tensor.elements() == static_cast<int64_t>(values.size()), "{} values for a tensor of {} elements",
          values.size(), tensor.elements());
  if (!values.empty()) std::memcpy(tensor.bytes.data(), values.data(), tensor.bytes.size());
  return tensor;
}

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
  const int64_t element = size_of(tensor.dtype);
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

int64_t HostTensor::elements() const {
  int64_t n = 1;
  for (int64_t dim : shape) n *= dim;
  return n;
}

std::vector<float> HostTensor::floats() const {
  return values<float>(*this);
}
std::vector<int64_t> HostTensor::integers() const {
  return values<int64_t>(*this);
}

HostTensor HostTensor::of(std::vector<int64_t> shape, const std::vector<float>& values) {
  return tensor_of("F32", std::move(shape), values);
}

HostTensor HostTensor::of(std::vector<int64_t> shape, const std::vector<int64_t>& values) {
  return tensor_of("I64", std::move(shape), values);
}

const HostTensor& SafeTensors::at(const std::string& name) const {
  const auto it = tensors.find(name);
  if (it == tensors.end()) throw InputError("tensor '{}' is missing", name);
  return it->second;
}

SafeTensors read_safetensors(const std::filesystem::path& path) {
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

  SafeTensors result;
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

void write_safetensors(const std::filesystem::path& path, const SafeTensors& file) {
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
