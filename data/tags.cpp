#include "data/tags.h"

#include <cmath>

#include "data/npy.h"
#include "engine/error.h"
#include "engine/files.h"
#include "engine/pickle.h"

namespace scrawl {

namespace {

using Kind = PickleValue::Kind;

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
bool is_string(PickleValue value) {
  return value.is(Kind::text) || value.is(Kind::bytes);
}

/// Reads what numpy and pickle make of a dictionary of arrays: objects that say which function would rebuild
/// them from which arguments and state.
class TagReader {
 public:
  TagReader(std::string_view file, std::string_view pickle, std::string name)
      : name_(std::move(name)),
        budget_(kSmall + 9 * file.size()),
        pickle_(pickle, {.globals = kGlobals, .memory = budget_}, name_) {
    spend(pickle_.memory());
  }

  Tags read() {
    const Array outer = array(pickle_.root());
    if (!outer.data.is(Kind::list) || outer.data.size() != 1 || !outer.data[0].is(Kind::dict))
      fail("expected one dictionary from image ids to label vectors, got something else");
    const PickleValue entries = outer.data[0];
    spend(entries.size() / 2 * kEntry);
    Tags tags;
    tags.reserve(entries.size() / 2);
    for (size_t i = 0; i < entries.size(); i += 2)
      tags.insert_or_assign(key(entries[i]), vector(entries[i + 1]));
    return tags;
  }

 private:
  static constexpr size_t kSmall = size_t{64} << 10;  // of a file so small that its size says little
  // Of the dictionary, without its contents: a node with its links and hash, and a bucket.
  static constexpr size_t kEntry = sizeof(Tags::value_type) + 32;

  struct Array {
    std::string dtype;
    std::vector<int64_t> shape;
    PickleValue data;
  };

  template <typename... Args>
  [[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) const {
    throw InputError("{}: {}", name_, fmt::format(format, std::forward<Args>(args)...));
  }

  /// Whether a value is a call of numpy's or Python's `function` with at least so many arguments.
  static bool calls(PickleValue value, std::string_view function, size_t arguments) {
    return value.is(Kind::object) && value[0].text().ends_with(function) && value[1].is(Kind::tuple) &&
           value[1].size() >= arguments;
  }

  /// The state that an object is built with, a tuple of at least `count` items.
  PickleValue state(PickleValue object, size_t count) const {
    const PickleValue state = object[2];
    if (!state.is(Kind::tuple) || state.size() < count)
      fail("holds an array or a type in a form that numpy does not write");
    return state;
  }

  std::string dtype(PickleValue value) const {
    if (!calls(value, "numpy.dtype", 1) || !is_string(value[1][0])) fail("holds an array without a type");
    // Byte order comes with the state, "|" where it has no meaning; without a state it is the machine's.
    std::string_view order = "<";
    if (!value[2].is(Kind::none) && is_string(state(value, 2)[1])) order = state(value, 2)[1].text();
    if (order.size() != 1) fail("holds an array of unknown byte order");
    return fmt::format("{}{}", order, value[1][0].text().substr(0, 16));
  }

  Array array(PickleValue value) const {
    if (!calls(value, ".multiarray._reconstruct", 0))
      fail("holds something other than an array where one is expected");
    const PickleValue parts = state(value, 5);  // version, shape, type, order, data
    const PickleValue shape = parts[1];
    Array array{dtype(parts[2]), {}, parts[4]};
    if (!shape.is(Kind::tuple) || shape.size() > 8) fail("holds an array without a shape");
    for (size_t i = 0; i < shape.size(); ++i) {
      if (!shape[i].is(Kind::integer) || shape[i].integer() < 0) fail("holds an array without a shape");
      array.shape.push_back(shape[i].integer());
    }
    return array;
  }

  /// One run of bytes may be shared by many arrays: what comes out is bounded, not just the file.
  void spend(size_t size) {
    if (size > budget_) fail("unpacks to far more than its size; refused");
    budget_ -= size;
  }

  /// Bytes as they are, or, in protocol 2, the text whose latin-1 form they are.
  std::string bytes(PickleValue value) {
    const bool encoded = calls(value, "_codecs.encode", 2);
    const std::string_view text = encoded ? value[1][0].text() : value.text();
    spend(text.size());
    if (!encoded) {
      if (!value.is(Kind::bytes)) fail("holds an array without data");
      return std::string(text);
    }
    if (!value[1][0].is(Kind::text) || value[1][1].text() != "latin1") fail("holds bytes in an unknown code");
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

  std::string key(PickleValue value) {
    if (value.is(Kind::integer)) return voc_id(value.integer());
    if (calls(value, ".multiarray.scalar", 2)) {
      const std::string type = dtype(value[1][0]);
      const double number = decode_npy(bytes(value[1][1]), type, {}, name_)[0];
      if (!(std::abs(number) < 1e15)) fail("has a key of type '{}' that is no integer", type);
      return voc_id(static_cast<int64_t>(number));
    }
    if (!is_string(value)) fail("has a key that is neither text nor an integer");
    spend(value.text().size());
    return std::string(value.text());
  }

  /// Ten digits are a VOC id, year and number, whose underscore was lost.
  static std::string voc_id(int64_t number) {
    std::string digits = std::to_string(number);
    if (digits.size() == 10 && number > 0) digits.insert(4, 1, '_');
    return digits;
  }

  std::vector<float> vector(PickleValue value) {
    const Array a = array(value);
    if (a.shape.size() != 1) fail("holds an array of {} dimensions, expected label vectors", a.shape.size());
    const size_t before = budget_;
    const std::string raw = bytes(a.data);
    spend(sizeof(double) * raw.size());  // a byte may be a number, which takes eight while it is decoded
    const std::vector<double> values = decode_npy(raw, a.dtype, a.shape, name_);
    spend(sizeof(float) * values.size());
    budget_ = before - sizeof(float) * values.size();
    return {values.begin(), values.end()};
  }

  std::string name_;
  size_t budget_;
  Pickle pickle_;
};

}  // namespace

Tags parse_tags(std::string_view file, const std::string& name) {
  const NpyHeader header = parse_npy_header(file, name);
  if (header.dtype != "|O" || !header.shape.empty()) {
    throw InputError("{}: expected a pickled dictionary (type '|O', shape ()), got type '{}', shape ({})",
                     name, header.dtype, fmt::join(header.shape, ", "));
  }
  return TagReader(file, file.substr(header.data), name).read();
}

Tags read_tags(const std::filesystem::path& path) {
  return parse_tags(read_file(path), path.string());
}

std::vector<uint8_t> present_classes(const std::vector<float>& tags) {
  std::vector<uint8_t> present{1};
  for (const float tag : tags) present.push_back(tag > 0.5f);
  return present;
}

const std::vector<float>& tags_of(const std::string& id, const Tags& tags, int classes,
                                  const std::filesystem::path& file) {
  const auto found = tags.find(id);
  if (found == tags.end()) throw InputError("{}: no tags for image {}", file.string(), id);
  if (static_cast<int>(found->second.size()) != classes - 1)
    throw InputError("{}: {} tags for image {}, expected {} (one a class but the background)", file.string(),
                     found->second.size(), id, classes - 1);
  return found->second;
}

}  // namespace scrawl
