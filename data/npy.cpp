#include "data/npy.h"

#include <bit>
#include <cstring>
#include <string_view>

#include "engine/error.h"
#include "engine/files.h"

namespace scrawl {

namespace fs = std::filesystem;

namespace {

/// The text after `'key':` in the header, which is the literal of a Python dictionary.
std::string_view field(std::string_view text, std::string_view key, const std::string& name) {
  const size_t at = text.find(fmt::format("'{}':", key));
  if (at == std::string_view::npos) throw InputError("{}: the .npy header lacks '{}'", name, key);
  text.remove_prefix(at + key.size() + 3);
  while (text.starts_with(' ')) text.remove_prefix(1);
  return text;
}

std::vector<int64_t> parse_shape(std::string_view text, const std::string& name) {
  constexpr size_t kMostDimensions = 64;  // NumPy's own limit
  std::vector<int64_t> shape;
  int64_t number = -1;
  for (const char c : text.substr(text.starts_with('('))) {
    if (c >= '0' && c <= '9') {
      number = (number < 0 ? 0 : number * 10) + (c - '0');
      if (number > INT32_MAX) break;
    } else if (c == ',' || c == ')') {
      if (number >= 0) shape.push_back(number);
      if (shape.size() > kMostDimensions) break;
      number = -1;
      if (c == ')') return shape;
    } else if (c != ' ') {
      break;
    }
  }
  throw InputError("{}: the .npy header holds no usable shape", name);
}

template <typename T>
double value_of(const char* bytes, bool swap) {
  char copy[sizeof(T)];
  for (size_t i = 0; i < sizeof(T); ++i) copy[i] = bytes[swap ? sizeof(T) - 1 - i : i];
  return static_cast<double>(std::bit_cast<T>(copy));
}

using Decoder = double (*)(const char*, bool);

/// How a type's values are read, and their size; null for a type that isn't known.
std::pair<Decoder, size_t> decoder_of(std::string_view dtype) {
  const std::string_view type = dtype.substr(dtype.empty() ? 0 : 1);
  if (type == "f4") return {value_of<float>, 4};
  if (type == "f8") return {value_of<double>, 8};
  if (type == "i1") return {value_of<int8_t>, 1};
  if (type == "i2") return {value_of<int16_t>, 2};
  if (type == "i4") return {value_of<int32_t>, 4};
  if (type == "i8") return {value_of<int64_t>, 8};
  if (type == "u1" || type == "b1") return {value_of<uint8_t>, 1};
  if (type == "u2") return {value_of<uint16_t>, 2};
  if (type == "u4") return {value_of<uint32_t>, 4};
  if (type == "u8") return {value_of<uint64_t>, 8};
  return {nullptr, 0};
}

}  // namespace

NpyHeader parse_npy_header(std::string_view bytes, const std::string& name) {
  if (!is_npy(bytes) || bytes.size() < 12) {
    throw InputError("{}: not a .npy file (expected it to begin with \\x93NUMPY)", name);
  }
  auto at = [&](size_t i) { return size_t{static_cast<uint8_t>(bytes[i])}; };
  if (at(6) < 1 || at(6) > 3) throw InputError("{}: version {} of .npy; 1 to 3 are known", name, at(6));
  const size_t start = at(6) == 1 ? 10 : 12;
  const size_t length = at(8) | at(9) << 8 | (at(6) == 1 ? 0 : at(10) << 16 | at(11) << 24);
  if (length > bytes.size() - start) throw InputError("{}: the .npy file is cut short", name);
  const std::string_view text = bytes.substr(start, length);

  NpyHeader header;
  const std::string_view descr = field(text, "descr", name);
  const size_t quote = descr.starts_with('\'') ? descr.find('\'', 1) : std::string_view::npos;
  if (quote == std::string_view::npos) throw InputError("{}: arrays of records are not read", name);
  header.dtype = descr.substr(1, quote - 1);
  header.fortran_order = field(text, "fortran_order", name).starts_with("True");
  header.shape = parse_shape(field(text, "shape", name), name);
  header.data = start + length;
  return header;
}

std::vector<double> decode_npy(std::string_view bytes, const std::string& dtype,
                               const std::vector<int64_t>& shape, const std::string& name) {
  const auto [read, size] = decoder_of(dtype);
  if (!read)
    throw InputError("{}: arrays of type '{}' are not read (booleans, integers and floats are)", name, dtype);
  uint64_t count = 1;
  for (const int64_t side : shape) {
    count *= static_cast<uint64_t>(side);
    if (count > bytes.size()) break;  // also keeps the product from overflowing
  }
  if (count > bytes.size() || count * size != bytes.size()) {
    throw InputError(
        "{}: an array of type '{}' and shape ({}) does not fit its {} bytes: cut short or damaged", name,
        dtype, fmt::join(shape, ", "), bytes.size());
  }
  std::vector<double> values(count);
  const bool swap = dtype[0] == '>';
  for (uint64_t i = 0; i < count; ++i) values[i] = read(bytes.data() + i * size, swap);
  return values;
}

bool holds_objects(const std::filesystem::path& path) {
  return parse_npy_header(read_file(path), path.string()).dtype == "|O";
}

Npy read_npy(const fs::path& path) {
  const std::string bytes = read_file(path);
  const NpyHeader header = parse_npy_header(bytes, path.string());
  Npy npy{header.dtype, header.fortran_order, header.shape, {}};
  if (npy.dtype != "|O") {
    npy.values = decode_npy(std::string_view(bytes).substr(header.data), npy.dtype, npy.shape, path.string());
  }
  return npy;
}

}  // namespace scrawl
