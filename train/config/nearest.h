#pragma once
#include <span>
#include <string>
#include <string_view>

namespace scrawl {

/// The name that a mistyped dotted `key` most likely meant: the fewest edits (Levenshtein) to the whole key
/// or, for a key put into the wrong section, to its last part.  `known` must not be empty.
std::string nearest(std::string_view key, std::span<const std::string> known);

}  // namespace scrawl
