#include "data/npy.h"

#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <string_view>

#include "data/pickle.h"
#include "engine/error.h"
#include "engine/files.h"

namespace scrawl {

namespace fs = std::filesystem;

namespace {

using Kind = PickleValue::Kind;

struct Header {
  std::string dtype;
  bool fortran_order = false;
  std::vector<int64_t> shape;
  size_t data = 0;  // where the values begin
};

/// The text after `'key':` in the header, which is the literal of a Python dictionary.
std::string_view field(std::string_view text, std::string_view key, const std::string& name) {
  const size_t at = text.find(fmt::format("'{}':", key));
  if (at == std::string_view::npos) throw InputError("{}: the .npy header lacks '{}'", name, key);
  text.remove_prefix(at + key.size() + 3);
  while (text.starts_with(' ')) text.remove_prefix(1);
  return text;
}

std::vector<int64_t> parse_shape(std::string_view text, const std::string& name) {
  std::vector<int64_t> shape;
  int64_t number = -1;
  for (const char c : text.substr(text.starts_with('('))) {
    if (c >= '0' && c <= '9') {
      number = (number < 0 ? 0 : number * 10) + (c - '0');
      if (number > INT32_MAX) break;
    } else if (c == ',' || c == ')') {
      if (number >= 0) shape.push_back(number);
      number = -1;
      if (c == ')') return shape;
    } else if (c != ' ') {
      break;
    }
  }
  throw InputError("{}: the .npy header holds no usable shape", name);
}

Header parse_header(std::string_view bytes, const std::string& name) {
  if (!bytes.starts_with("\x93NUMPY") || bytes.size() < 12) {
    throw InputError("{}: not a .npy file (expected it to begin with \\x93NUMPY)", name);
  }
  auto at = [&](size_t i) { return size_t{static_cast<uint8_t>(bytes[i])}; };
  if (at(6) < 1 || at(6) > 3) throw InputError("{}: version {} of .npy; 1 to 3 are known", name, at(6));
  const size_t start = at(6) == 1 ? 10 : 12;
  const size_t length = at(8) | at(9) << 8 | (at(6) == 1 ? 0 : at(10) << 16 | at(11) << 24);
  if (length > bytes.size() - start) throw InputError("{}: the .npy file is cut short", name);
  const std::string_view text = bytes.substr(start, length);

  Header header;
  const std::string_view descr = field(text, "descr", name);
  const size_t quote = descr.starts_with('\'') ? descr.find('\'', 1) : std::string_view::npos;
  if (quote == std::string_view::npos) throw InputError("{}: arrays of records are not read", name);
  header.dtype = descr.substr(1, quote - 1);
  header.fortran_order = field(text, "fortran_order", name).starts_with("True");
  header.shape = parse_shape(field(text, "shape", name), name);
  header.data = start + length;
  return header;
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

/// The values of an array; `dtype` begins with its byte order.  The size is checked before memory is taken.
template <typename T>
std::vector<T> decode(std::string_view bytes, const std::string& dtype, const std::vector<int64_t>& shape,
                      const std::string& name) {
  const auto [read, size] = decoder_of(dtype);
  if (!read)
    throw InputError("{}: arrays of type '{}' are not read (booleans, integers and floats are)", name, dtype);
  uint64_t count = 1;
  for (const int64_t side : shape) {
    count *= static_cast<uint64_t>(side);
    if (count > bytes.size()) break;  // also keeps the product from overflowing
  }
  if (count * size != bytes.size()) {
    throw InputError(
        "{}: an array of type '{}' and shape ({}) does not fit its {} bytes: cut short or damaged", name,
        dtype, fmt::join(shape, ", "), bytes.size());
  }
  std::vector<T> values(count);
  const bool swap = dtype[0] == '>';
  for (uint64_t i = 0; i < count; ++i) values[i] = static_cast<T>(read(bytes.data() + i * size, swap));
  return values;
}

constexpr std::string_view kGlobals[] = {
    "numpy.core.multiarray._reconstruct",
    "numpy._core.multiarray._reconstruct",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar",
    "numpy.ndarray",
    "numpy.dtype",
    "_codecs.encode",
};

/// Text, or what Python 2 took for it.
bool is_string(const PickleValue& value) {
  return value.is(Kind::text) || value.is(Kind::bytes);
}

/// Reads what numpy and pickle make of a dictionary of arrays: objects that say which function would rebuild
/// them from which arguments and state.
class TagReader {
 public:
  TagReader(std::string_view file, std::string_view pickle, std::string name)
      : name_(std::move(name)), budget_(1024 + 10 * file.size()), pickle_(pickle, kGlobals, name_) {}

  Tags read() {
    const Array outer = array(pickle_.root());
    if (!outer.data.is(Kind::sequence) || outer.data.items.size() != 1 ||
        !outer.data.items[0]->is(Kind::dict)) {
      fail("expected one dictionary from image ids to label vectors, got something else");
    }
    Tags tags;
    const auto& items = outer.data.items[0]->items;
    for (size_t i = 0; i < items.size(); i += 2) tags.insert_or_assign(key(*items[i]), vector(*items[i + 1]));
    return tags;
  }

 private:
  struct Array {
    std::string dtype;
    std::vector<int64_t> shape;
    const PickleValue& data;
  };

  template <typename... Args>
  [[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) const {
    throw InputError("{}: {}", name_, fmt::format(format, std::forward<Args>(args)...));
  }

  /// The arguments of `value` if it is a call of numpy's or Python's `function`, with at least `count` of
  /// them.
  const std::vector<const PickleValue*>* call(const PickleValue& value, std::string_view function,
                                              size_t count) const {
    if (!value.is(Kind::object) || !value.items[0]->text.ends_with(function)) return nullptr;
    const PickleValue& arguments = *value.items[1];
    return arguments.is(Kind::sequence) && arguments.items.size() >= count ? &arguments.items : nullptr;
  }

  /// The state that an object is built with, a tuple of at least `count` items.
  const std::vector<const PickleValue*>& state(const PickleValue& value, size_t count) const {
    if (value.items.size() != 3 || !value.items[2]->is(Kind::sequence) ||
        value.items[2]->items.size() < count) {
      fail("holds an array or a type in a form that numpy does not write");
    }
    return value.items[2]->items;
  }

  std::string dtype(const PickleValue& value) const {
    const auto* arguments = call(value, "numpy.dtype", 1);
    if (!arguments || !is_string(*(*arguments)[0])) fail("holds an array without a type");
    // Byte order comes with the state, "|" where it has no meaning; without a state it is the machine's.
    std::string_view order = "<";
    if (value.items.size() > 2 && is_string(*state(value, 2)[1])) order = state(value, 2)[1]->text;
    if (order.size() != 1) fail("holds an array of unknown byte order");
    return std::string(order) + std::string((*arguments)[0]->text.substr(0, 16));
  }

  Array array(const PickleValue& value) const {
    if (!call(value, ".multiarray._reconstruct", 0))
      fail("holds something other than an array where one is expected");
    const auto& parts = state(value, 5);  // version, shape, type, order, data
    Array array{dtype(*parts[2]), {}, *parts[4]};
    if (!parts[1]->is(Kind::sequence) || parts[1]->items.size() > 8) fail("holds an array without a shape");
    for (const PickleValue* side : parts[1]->items) {
      if (!side->is(Kind::integer) || side->integer < 0) fail("holds an array without a shape");
      array.shape.push_back(side->integer);
    }
    return array;
  }

  /// One run of bytes may be shared by many arrays: what comes out is bounded, not just the file.
  void spend(size_t size) {
    if (size > budget_) fail("unpacks to more than ten times its size; refused");
    budget_ -= size;
  }

  /// Bytes as they are, or, in protocol 2, the text whose latin-1 form they are.
  std::string bytes(const PickleValue& value) {
    const auto* arguments = call(value, "_codecs.encode", 2);
    const std::string_view text = arguments ? (*arguments)[0]->text : value.text;
    spend(text.size());
    if (!arguments) {
      if (!value.is(Kind::bytes)) fail("holds an array without data");
      return std::string(text);
    }
    if (!(*arguments)[0]->is(Kind::text) || (*arguments)[1]->text != "latin1")
      fail("holds bytes in an unknown code");
    return latin1(text);
  }

  /// Latin-1 from UTF-8: code points up to 255, which take one or two bytes.
  std::string latin1(std::string_view text) const {
    std::string out;
    out.reserve(text.size());
    for (size_t i = 0; i < text.size(); ++i) {
      const auto c = static_cast<uint8_t>(text[i]);
      if (c < 0x80) {
        out += text[i];
      } else {
        const uint8_t next = ++i < text.size() ? static_cast<uint8_t>(text[i]) : 0;
        if ((c != 0xC2 && c != 0xC3) || next >> 6 != 2) fail("holds bytes that are not latin-1");
        out += static_cast<char>(c << 6 | (next & 0x3F));
      }
    }
    return out;
  }

  std::string key(const PickleValue& value) {
    if (value.is(Kind::integer)) return voc_id(value.integer);
    if (const auto* arguments = call(value, ".multiarray.scalar", 2)) {
      const std::string type = dtype(*(*arguments)[0]);
      const double number = decode<double>(bytes(*(*arguments)[1]), type, {}, name_)[0];
      if (!(std::abs(number) < 1e15)) fail("has a key of type '{}' that is no integer", type);
      return voc_id(static_cast<int64_t>(number));
    }
    if (!is_string(value)) fail("has a key that is neither text nor an integer");
    spend(value.text.size());
    return std::string(value.text);
  }

  /// Ten digits are a VOC id, year and number, whose underscore was lost.
  static std::string voc_id(int64_t number) {
    if (number < 1'000'000'000 || number > 9'999'999'999) return std::to_string(number);
    return fmt::format("{:04}_{:06}", number / 1'000'000, number % 1'000'000);
  }

  std::vector<float> vector(const PickleValue& value) {
    const Array a = array(value);
    if (a.shape.size() != 1) fail("holds an array of {} dimensions, expected label vectors", a.shape.size());
    return decode<float>(bytes(a.data), a.dtype, a.shape, name_);
  }

  std::string name_;
  uint64_t budget_;
  Pickle pickle_;
};

}  // namespace

bool holds_objects(const std::filesystem::path& path) {
  return parse_header(read_file(path), path.string()).dtype == "|O";
}

Npy read_npy(const fs::path& path) {
  const std::string bytes = read_file(path);
  Header header = parse_header(bytes, path.string());
  Npy npy{header.dtype, header.fortran_order, header.shape, {}};
  if (npy.dtype != "|O") {
    npy.values =
        decode<double>(std::string_view(bytes).substr(header.data), npy.dtype, npy.shape, path.string());
  }
  return npy;
}

Tags read_tags(const fs::path& path) {
  const std::string bytes = read_file(path);
  const Header header = parse_header(bytes, path.string());
  if (header.dtype != "|O" || !header.shape.empty()) {
    throw InputError("{}: expected a pickled dictionary (type '|O', shape ()), got type '{}', shape ({})",
                     path.string(), header.dtype, fmt::join(header.shape, ", "));
  }
  return TagReader(bytes, std::string_view(bytes).substr(header.data), path.string()).read();
}

}  // namespace scrawl
