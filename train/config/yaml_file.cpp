#include "train/config/yaml_file.h"

#include <algorithm>
#include <string_view>

#include "engine/error.h"
#include "engine/files.h"

namespace scrawl {
namespace {

// The published configuration has 1,700 characters, 160 of which are marks.
constexpr size_t kLongest = 64 << 10, kMostMarks = 2000;

/// Characters that make yaml-cpp begin a value, each of which takes it up to 850 bytes.  Those in comments
/// and texts count, too: to tell them apart would take a parser.
size_t marks_in(std::string_view text) {
  constexpr std::string_view kAnywhere = ":,[]{}&*!|>", kBeforeBlank = "-?", kBlanks = " \t\r\n";
  size_t marks = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool blank_follows = i + 1 == text.size() || kBlanks.find(text[i + 1]) != kBlanks.npos;
    marks += kAnywhere.find(text[i]) != kAnywhere.npos ||
             (blank_follows && kBeforeBlank.find(text[i]) != kBeforeBlank.npos);
  }
  return marks;
}

void expect_length(size_t length, const std::string& name) {
  if (length > kLongest)
    throw InputError("{}: expected a configuration, of at most {} characters", name, kLongest);
}

}  // namespace

std::string read_yaml_file(const std::filesystem::path& path) {
  std::string text = read_beginning(path, kLongest + 1);
  expect_length(text.size(), path.string());
  return text;
}

YAML::Node parse_yaml(const std::string& text, const std::string& name) {
  expect_length(text.size(), name);
  if (marks_in(text) > kMostMarks)
    throw InputError("{}: has more lists, groups and keys than a configuration does; refused", name);
  try {
    return YAML::Load(text);
  } catch (const YAML::Exception& error) {
    throw InputError("{}:{}: not valid YAML: {}", name, error.mark.line + 1, error.msg);
  }
}

}  // namespace scrawl
