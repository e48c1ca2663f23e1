#include "engine/tensor_file.h"

#include <bit>
#include <cmath>
#include <cstring>

#include "engine/error.h"
#include "engine/files.h"
#include "engine/safetensors.h"
#include "engine/torch_file.h"

namespace scrawl {
namespace {

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
  const auto cast = []<typename T>(T value) {
    if constexpr (std::is_integral_v<Out> && std::is_floating_point_v<T>) {
      if (!(std::abs(value) < 0x1p63)) throw InputError("tensor holds {}, expected integers", value);
    }
    return static_cast<Out>(value);
  };
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

}  // namespace

int64_t element_size(const std::string& dtype) {
  static const std::map<std::string, int64_t> sizes{
      {"F64", 8}, {"F32", 4}, {"F16", 2}, {"BF16", 2}, {"I64", 8}, {"I32", 4}, {"I16", 2},
      {"I8", 1},  {"U64", 8}, {"U32", 4}, {"U16", 2},  {"U8", 1},  {"BOOL", 1}};
  const auto it = sizes.find(dtype);
  return it == sizes.end() ? 0 : it->second;
}

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

const HostTensor& TensorFile::at(const std::string& name) const {
  const auto it = tensors.find(name);
  if (it == tensors.end()) throw InputError("tensor '{}' is missing", name);
  return it->second;
}

TensorFile read_tensor_file(const std::filesystem::path& path) {
  constexpr size_t kTelling = 64;
  const std::string beginning = read_beginning(path, kTelling);
  if (is_torch_file(beginning)) return read_torch_file(path);
  // Safetensors have eight bytes of length before their header, which is a JSON object.
  if (beginning.size() > 8 && beginning[8] == '{') return read_safetensors(path);
  throw InputError("{}: neither a safetensors file nor a checkpoint of PyTorch", path.string());
}

}  // namespace scrawl
