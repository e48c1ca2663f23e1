#include "train/config/nearest.h"

#include <algorithm>
#include <numeric>
#include <utility>
#include <vector>

namespace scrawl {
namespace {

int edit_distance(std::string_view a, std::string_view b) {
  std::vector<int> row(b.size() + 1);  // distances from a[0..i) to every b[0..j)
  std::iota(row.begin(), row.end(), 0);
  for (size_t i = 0; i < a.size(); ++i) {
    int diagonal = std::exchange(row[0], static_cast<int>(i) + 1);
    for (size_t j = 0; j < b.size(); ++j) {
      const int replaced = diagonal + (a[i] != b[j]);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, diagonal + 1, row[j] + 1});
    }
  }
  return row.back();
}

std::string_view last_part(std::string_view key) {
  return key.substr(key.rfind('.') + 1);
}

}  // namespace

std::string nearest(std::string_view key, std::span<const std::string> known) {
  const auto distance = [&](std::string_view name) {
    const int whole = edit_distance(key, name);
    const int moved = 1 + edit_distance(last_part(key), last_part(name));
    return std::pair(std::min(whole, moved), whole);
  };
  return *std::ranges::min_element(known, {}, distance);
}

}  // namespace scrawl
