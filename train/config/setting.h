#pragma once
// One key of the configuration file: what its value must look like and where it goes.
#include <yaml-cpp/yaml.h>

#include <limits>
#include <string>
#include <string_view>
#include <variant>

#include "train/config/config.h"

namespace scrawl {

/// Allowed numbers, ends included; every number of a list must keep to it.
struct Range {
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();
  std::string_view words{};  // follows "must be"
};

/// A value that the published code stores twice: must equal that of `key`.
struct SameAs {
  const int* value;
  std::string_view key;
};

/// A key that has no effect here.
struct Ignored {
  std::string_view why;
};

using Target =
    std::variant<bool*, int*, uint64_t*, float*, double*, std::string*, std::filesystem::path*, LrPolicy*,
                 DType*, CropSize*, std::array<int, 4>*, std::array<double, 2>*, SameAs, Ignored>;

struct Setting {
  std::string_view key;  // dotted
  Target target;
  Range range{};
};

/// Stores `value` in the setting's target, or throws an InputError that starts with `where`.  Lists may also
/// be written as text, "4, 2, 2, 1", with or without brackets.
void read(const Setting& setting, const YAML::Node& value, std::string_view where);

/// The target's value as read() takes it; a null node for SameAs and Ignored, which hold nothing.
YAML::Node write(const Setting& setting);

}  // namespace scrawl
