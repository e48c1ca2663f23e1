#include "data/class_list.h"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>
#include <set>

#include "engine/error.h"
#include "engine/files.h"

namespace scrawl {
namespace {

using Colour = Palette::value_type;

constexpr std::string_view kBlanks = " \t";

bool is_utf8(const std::string& text) {
  try {
    nlohmann::json(text).dump();
    return true;
  } catch (const nlohmann::json::type_error&) {
    return false;
  }
}

std::vector<std::string_view> words_of(std::string_view line) {
  std::vector<std::string_view> words;
  for (size_t begin; (begin = line.find_first_not_of(kBlanks)) != line.npos;) {
    line.remove_prefix(begin);
    words.push_back(line.substr(0, line.find_first_of(kBlanks)));
    line.remove_prefix(words.back().size());
  }
  return words;
}

std::optional<int> whole_number(std::string_view word, int base) {
  int value = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value, base);
  const bool read = error == std::errc() && end == word.data() + word.size() && word.front() != '-';
  return read ? std::optional(value) : std::nullopt;
}

/// One line of a classes.txt, taken apart.
struct Line {
  std::string_view name;
  std::optional<Colour> colour;
};

Line parse_hex(std::string_view line, std::string_view word, const std::string& where) {
  const std::optional<int> value = word.size() == 7 ? whole_number(word.substr(1), 16) : std::nullopt;
  if (!value) throw InputError("{}: '{}' is no colour; expected #rrggbb", where, word);
  return {line.substr(0, word.data() - line.data()),
          Colour{static_cast<uint8_t>(*value >> 16), static_cast<uint8_t>(*value >> 8 & 255),
                 static_cast<uint8_t>(*value & 255)}};
}

Line parse_line(std::string_view line, const std::string& where) {
  const std::vector<std::string_view> words = words_of(line);
  if (words.size() > 1 && words.back().front() == '#') return parse_hex(line, words.back(), where);
  if (words.size() < 4) return {line, {}};
  Colour colour;
  for (size_t i = 0; i < 3; ++i) {
    const std::string_view word = words[words.size() - 3 + i];
    const std::optional<int> value = whole_number(word, 10);
    if (!value) return {line, {}};  // a name of several words
    if (*value > 255) throw InputError("{}: '{}' is no part of a colour; expected 0 to 255", where, word);
    colour[i] = static_cast<uint8_t>(*value);
  }
  return {line.substr(0, words[words.size() - 3].data() - line.data()), colour};
}

std::string_view without_blanks_behind(std::string_view text) {
  return text.substr(0, text.find_last_not_of(kBlanks) + 1);
}

}  // namespace

std::optional<int> ClassList::find(std::string_view name) const {
  const auto found = std::ranges::find(names, name);
  return found == names.end() ? std::nullopt : std::optional(static_cast<int>(found - names.begin()));
}

ClassList class_list(std::vector<std::string> names, const std::string& where) {
  if (names.empty() || names.size() > kUnlabelled)
    throw InputError("{}: names {} classes, expected 1 to {}", where, names.size(), kUnlabelled);
  std::set<std::string_view> seen;
  for (size_t k = 0; k < names.size(); ++k) {
    if (std::ranges::any_of(names[k], [](unsigned char c) { return c < ' ' || c == 0x7F; }))
      throw InputError("{}: the name of class {} holds a line break or another control character", where, k);
    if (!is_utf8(names[k])) throw InputError("{}: the name of class {} is not UTF-8 text", where, k);
    if (!seen.insert(names[k]).second) throw InputError("{}: '{}' names two classes", where, names[k]);
  }
  return {std::move(names)};
}

ClassList read_class_list(const std::filesystem::path& path) {
  std::vector<std::string> names;
  std::vector<std::optional<Colour>> colours;
  for (const std::string& text : read_lines(path)) {
    const Line line = parse_line(text, fmt::format("{}: class {}", path.string(), names.size()));
    names.emplace_back(without_blanks_behind(line.name));
    colours.push_back(line.colour);
  }
  ClassList classes = class_list(std::move(names), path.string());
  for (size_t k = 0; k < colours.size(); ++k) classes.palette[k] = colours[k].value_or(classes.palette[k]);
  return classes;
}

void write_class_list(const std::filesystem::path& path, const ClassList& classes) {
  write_file_atomically(path, [&](std::ostream& out) {
    for (size_t k = 0; k < classes.names.size(); ++k) {
      const auto [r, g, b] = classes.palette[k];
      out << fmt::format("{} #{:02x}{:02x}{:02x}\n", classes.names[k], r, g, b);
    }
  });
}

const ClassList& voc_classes() {
  static const ClassList classes =
      class_list({"background", "aeroplane", "bicycle",     "bird",  "boat",        "bottle", "bus",
                  "car",        "cat",       "chair",       "cow",   "diningtable", "dog",    "horse",
                  "motorbike",  "person",    "pottedplant", "sheep", "sofa",        "train",  "tvmonitor"},
                 "VOC");
  return classes;
}

ClassList default_classes(int count) {
  if (count == voc_classes().size()) return voc_classes();
  std::vector<std::string> names{"background"};
  for (int k = 1; k < count; ++k) names.push_back(fmt::format("class {}", k));
  return class_list(std::move(names), "the number of classes");
}

ClassList classes_of(const std::filesystem::path& root, int count) {
  const std::filesystem::path path = root / "classes.txt";
  if (std::filesystem::exists(path)) {
    ClassList classes = read_class_list(path);
    if (classes.size() != count) {
      throw InputError(
          "{}: names {} classes, dataset.num_classes is {}; set dataset.num_classes={} or mend the file",
          path.string(), classes.size(), count, classes.size());
    }
    return classes;
  }
  return default_classes(count);
}

}  // namespace scrawl
