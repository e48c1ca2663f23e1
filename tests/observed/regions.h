#pragma once
// The device's memory: pieces that came from the system, each with what an observer remembers of it.
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <map>
#include <utility>

namespace scrawl::simt {

template <typename Content>
class Regions {
 public:
  void add(const void* memory, size_t bytes, Content content) {
    const auto begin = reinterpret_cast<uintptr_t>(memory);
    regions_.insert_or_assign(begin, Region{begin + bytes, std::move(content)});
  }
  void remove(const void* memory) { regions_.erase(reinterpret_cast<uintptr_t>(memory)); }

  struct Place {
    Content* content;  // null outside of all regions
    size_t offset;     // in the region
  };
  Place find(const void* pointer) {
    const auto address = reinterpret_cast<uintptr_t>(pointer);
    const auto after = regions_.upper_bound(address);
    if (after == regions_.begin()) return {};
    auto& [begin, region] = *std::prev(after);
    if (address >= region.end) return {};
    return {&region.content, address - begin};
  }

 private:
  struct Region {
    uintptr_t end;
    Content content;
  };
  std::map<uintptr_t, Region> regions_;  // by their beginning
};

}  // namespace scrawl::simt
