#pragma once
#include <cmath>
#include <limits>
#include <string>

#include "engine/error.h"

namespace scrawl {

/// Parses a document of at most 64 KB, which takes up to thirty times its size.  InputError when it is
/// longer, and for numbers that fit no int: taken out of a document, they are cut off, or worse.  Throws the
/// library's own exception for what is not JSON.
template <typename Json>
Json parse_small_json(const std::string& text) {
  constexpr size_t kLongest = 64 << 10;
  if (text.size() > kLongest)
    throw InputError("{} characters, at most {} are expected", text.size(), kLongest);
  return Json::parse(text, [](int, typename Json::parse_event_t event, Json& value) {
    if (event == Json::parse_event_t::value && value.is_number() &&
        !(std::abs(value.template get<double>()) <= std::numeric_limits<int>::max()))
      throw InputError("the number {} is too large", value.dump());
    return true;
  });
}

}  // namespace scrawl
