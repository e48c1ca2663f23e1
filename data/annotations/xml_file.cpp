#include "data/annotations/xml_file.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "engine/error.h"

namespace scrawl {
namespace {

constexpr std::string_view kBlanks = " \t\r\n";

/// What pugixml will allocate, at most: a node for every opening tag and for text that follows anything but
/// one, an attribute for every equals sign.
size_t memory_for(std::string_view bytes) {
  constexpr size_t kNode = 64, kAttribute = 40;
  size_t nodes = 0, attributes = 0;
  bool opens = false;  // the last tag, so that text behind it needs no node
  for (size_t i = 0; i < bytes.size(); ++i) {
    if (bytes[i] == '<') {
      const char next = i + 1 < bytes.size() ? bytes[i + 1] : ' ';
      nodes += next != '/';
      opens = next != '/' && next != '!' && next != '?';
    } else if (bytes[i] == '=') {
      ++attributes;
    } else if (bytes[i] == '>') {
      const bool embedded = opens && bytes[i - 1] != '/';
      const size_t text = bytes.find_first_not_of(kBlanks, i + 1);
      nodes += !embedded && text != bytes.npos && bytes[text] != '<';
    }
  }
  return kNode * nodes + kAttribute * attributes;
}

}  // namespace

XmlFile::XmlFile(std::string bytes, std::string name) : bytes_(std::move(bytes)), name_(std::move(name)) {
  constexpr size_t kSlack = size_t{1} << 16;
  if (memory_for(bytes_) > 8 * bytes_.size() + kSlack)
    throw InputError("{}: begins more elements than an annotation of its size does; refused", name_);
  const pugi::xml_parse_result result = document_.load_buffer_inplace(
      bytes_.data(), bytes_.size(), pugi::parse_default | pugi::parse_embed_pcdata | pugi::parse_trim_pcdata);
  if (!result)
    throw InputError("{}: not valid XML at byte {}: {}", name_, result.offset, result.description());
}

pugi::xml_node XmlFile::root(std::string_view element) const {
  const pugi::xml_node root = document_.document_element();
  if (root.name() != element)
    throw InputError("{}: expected <{}> as the outermost element, got <{}>", name_, element,
                     std::string_view(root.name()).substr(0, 40));
  return root;
}

std::optional<float> finite_number(std::string_view text) {
  const size_t begin = std::min(text.find_first_not_of(kBlanks), text.size());
  const std::string_view digits = text.substr(begin, text.find_last_not_of(kBlanks) + 1 - begin);
  float value = 0.0f;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  const bool read = error == std::errc() && end == digits.data() + digits.size() && std::isfinite(value);
  return read ? std::optional(value) : std::nullopt;
}

}  // namespace scrawl
