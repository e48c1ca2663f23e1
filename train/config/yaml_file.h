#pragma once
#include <yaml-cpp/yaml.h>

#include <filesystem>
#include <string>

namespace scrawl {

/// The text of a configuration file; InputError when it is longer than any configuration, before it is read.
std::string read_yaml_file(const std::filesystem::path& path);

/// Parses a configuration, in at most two megabytes of memory.  InputError, starting with `name` and the
/// line, for what is not YAML, and for more lists, groups and keys than a configuration has.
YAML::Node parse_yaml(const std::string& text, const std::string& name);

}  // namespace scrawl
