#include "train/config/setting.h"

#include <charconv>
#include <cmath>
#include <cstdlib>
#include <span>

#include "engine/error.h"

namespace scrawl {
namespace {

using Elements = std::vector<std::string>;

std::string trim(std::string_view text, std::string_view drop = " \t") {
  const size_t first = text.find_first_not_of(drop);
  if (first == std::string_view::npos) return {};
  return std::string(text.substr(first, text.find_last_not_of(drop) - first + 1));
}

/// The scalars of a sequence, or the parts between commas of a scalar; nothing when there are none.
Elements elements(const YAML::Node& node) {
  Elements parts;
  if (node.IsSequence()) {
    for (const YAML::Node& part : node) parts.push_back(part.IsScalar() ? part.Scalar() : "");
  } else if (node.IsScalar()) {
    const std::string text = trim(node.Scalar(), " \t[]()");
    for (size_t begin = 0, end = 0; end != std::string::npos; begin = end + 1) {
      end = text.find(',', begin);
      parts.push_back(trim(std::string_view(text).substr(begin, end - begin)));
    }
  }
  return parts;
}

template <typename T>
bool parse(const std::string& text, T& value) {
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  return error == std::errc() && stop == end && std::isfinite(static_cast<double>(value));
}

template <typename T>
bool parse(const Elements& parts, std::span<T> values) {
  if (parts.size() != values.size()) return false;
  for (size_t i = 0; i < parts.size(); ++i) {
    if (!parse(parts[i], values[i])) return false;
  }
  return true;
}

std::string expand_home(const std::string& path) {
  const char* home = std::getenv("HOME");
  return home && path.starts_with("~/") ? home + path.substr(1) : path;
}

/// What messages say was given.
std::string show(const YAML::Node& node) {
  if (node.IsScalar()) return fmt::format("'{}'", node.Scalar());
  if (node.IsSequence()) return fmt::format("[{}]", fmt::join(elements(node), ", "));
  return node.IsMap() ? "a group of keys" : "nothing";
}

/// A type of target: what messages call it, how it is read from YAML and written back.
template <typename T>
struct Form;

template <>
struct Form<bool> {
  static constexpr auto words = "true or false";
  static bool read(const YAML::Node& node, bool& value) { return YAML::convert<bool>::decode(node, value); }
  static YAML::Node write(bool value) { return YAML::Node(value); }
};

template <typename T>
struct NumberForm {
  static bool read(const YAML::Node& node, T& value) {
    return node.IsScalar() && parse(node.Scalar(), value);
  }
  static YAML::Node write(T value) { return YAML::Node(fmt::format("{}", value)); }
};

template <>
struct Form<int> : NumberForm<int> {
  static constexpr auto words = "an integer";
};
template <>
struct Form<uint64_t> : NumberForm<uint64_t> {
  static constexpr auto words = "an integer of at least 0";
};
template <>
struct Form<float> : NumberForm<float> {
  static constexpr auto words = "a number";
};
template <>
struct Form<double> : NumberForm<double> {
  static constexpr auto words = "a number";
};

template <>
struct Form<std::string> {
  static constexpr auto words = "a name";
  static bool read(const YAML::Node& node, std::string& value) {
    if (!node.IsScalar()) return false;
    value = node.Scalar();
    return !value.empty();
  }
  static YAML::Node write(const std::string& value) { return YAML::Node(value); }
};

template <>
struct Form<std::filesystem::path> {
  static constexpr auto words = "a path";
  static bool read(const YAML::Node& node, std::filesystem::path& value) {
    if (node.IsScalar()) value = expand_home(node.Scalar());
    return node.IsScalar() && !value.empty();
  }
  static YAML::Node write(const std::filesystem::path& value) { return YAML::Node(value.string()); }
};

template <>
struct Form<LrPolicy> {
  static constexpr auto words = "linear or step";
  static bool read(const YAML::Node& node, LrPolicy& value) {
    if (!node.IsScalar()) return false;
    value = node.Scalar() == "step" ? LrPolicy::kStep : LrPolicy::kLinear;
    return node.Scalar() == "step" || node.Scalar() == "linear";
  }
  static YAML::Node write(LrPolicy value) { return YAML::Node(value == LrPolicy::kStep ? "step" : "linear"); }
};

template <>
struct Form<DType> {
  static constexpr auto words = "fp32 or bf16";
  static bool read(const YAML::Node& node, DType& value) {
    if (!node.IsScalar()) return false;
    value = node.Scalar() == "bf16" ? DType::bf16 : DType::f32;
    return node.Scalar() == "bf16" || node.Scalar() == "fp32";
  }
  static YAML::Node write(DType value) { return YAML::Node(value == DType::bf16 ? "bf16" : "fp32"); }
};

template <typename T, size_t n>
struct Form<std::array<T, n>> {
  static constexpr auto words = std::is_integral_v<T> ? "4 integers, one a stage" : "2 numbers";
  static_assert(n == (std::is_integral_v<T> ? 4 : 2));
  static bool read(const YAML::Node& node, std::array<T, n>& values) {
    return parse(elements(node), std::span<T>(values));
  }
  static YAML::Node write(const std::array<T, n>& values) {
    YAML::Node list;
    for (const T& value : values) list.push_back(fmt::format("{}", value));
    list.SetStyle(YAML::EmitterStyle::Flow);
    return list;
  }
};

template <>
struct Form<CropSize> {
  static constexpr auto words = "an integer or [height, width]";
  static bool read(const YAML::Node& node, CropSize& crop) {
    std::array<int, 2> sides;
    const Elements parts = elements(node);
    const bool square = parts.size() == 1;
    if (!parse(square ? Elements{parts[0], parts[0]} : parts, std::span<int>(sides))) return false;
    crop = {sides[0], sides[1]};
    return true;
  }
  static YAML::Node write(const CropSize& crop) {
    YAML::Node list;
    list.push_back(crop.height);
    list.push_back(crop.width);
    list.SetStyle(YAML::EmitterStyle::Flow);
    return list;
  }
};

std::vector<double> numbers(const CropSize& crop) {
  return {1.0 * crop.height, 1.0 * crop.width};
}
template <typename T>
std::vector<double> numbers(const T& value) {
  if constexpr (std::is_arithmetic_v<T>) {
    return {static_cast<double>(value)};
  } else if constexpr (requires { value[0] * 1.0; } && !std::is_same_v<T, std::string>) {
    return {value.begin(), value.end()};
  } else {
    return {};
  }
}

template <typename T>
void read_value(const Setting& setting, T& target, const YAML::Node& node, std::string_view where) {
  T value{};
  if (!Form<T>::read(node, value)) {
    throw InputError("{}: {}: expected {}, got {}", where, setting.key, Form<T>::words, show(node));
  }
  for (double number : numbers(value)) {
    if (number >= setting.range.low && number <= setting.range.high) continue;
    throw InputError("{}: {} must be {}, got {}", where, setting.key, setting.range.words, show(node));
  }
  target = value;
}

}  // namespace

void read(const Setting& setting, const YAML::Node& node, std::string_view where) {
  std::visit(
      [&]<typename T>(const T& target) {
        if constexpr (std::is_pointer_v<T>) {
          read_value(setting, *target, node, where);
        } else if constexpr (std::is_same_v<T, SameAs>) {
          int value = 0;
          read_value(setting, value, node, where);
          if (value == *target.value) return;
          throw InputError("{}: {} is {} but {} is {}; they must be equal", where, setting.key, value,
                           target.key, *target.value);
        }
      },
      setting.target);
}

YAML::Node write(const Setting& setting) {
  return std::visit(
      []<typename T>(const T& target) {
        if constexpr (std::is_pointer_v<T>) {
          return Form<std::remove_pointer_t<T>>::write(*target);
        } else {
          return YAML::Node();
        }
      },
      setting.target);
}

}  // namespace scrawl
