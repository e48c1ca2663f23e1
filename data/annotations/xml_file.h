#pragma once
#include <iterator>
#include <optional>
#include <pugixml.hpp>
#include <string>
#include <string_view>

namespace scrawl {

/// XML in memory, at most ten times its size.  Text stands in the element that holds it, without
/// blanks at either end.
class XmlFile {
 public:
  /// InputError, starting with `name`, for what is not XML, is cut short, or holds more elements than a file
  /// of its size should.
  XmlFile(std::string bytes, std::string name);
  XmlFile(const XmlFile&) = delete;
  XmlFile& operator=(const XmlFile&) = delete;

  /// The outermost element, which must be called so.
  pugi::xml_node root(std::string_view element) const;
  const std::string& name() const { return name_; }

 private:
  std::string bytes_, name_;  // the document points into the bytes
  pugi::xml_document document_;
};

/// How many nodes there are, to take memory for no more.
template <typename Iterator>
size_t count(const pugi::xml_object_range<Iterator>& nodes) {
  return std::distance(nodes.begin(), nodes.end());
}

/// The number that a text holds, blanks aside, if it is one and finite.
std::optional<float> finite_number(std::string_view text);

}  // namespace scrawl
