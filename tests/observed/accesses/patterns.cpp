#include "tests/observed/accesses/patterns.h"

#include <algorithm>
#include <set>

namespace scrawl {

namespace {

constexpr uint64_t kSector = 32, kWord = 4, kBanks = 32;

Efficiency sectors(const std::map<int, uint64_t>& addresses, size_t bytes) {
  std::set<uint64_t> moved, wanted;
  for (const auto& [lane, address] : addresses)
    for (uint64_t at = address; at < address + bytes; ++at) {
      moved.insert(at / kSector);
      wanted.insert(at);
    }
  return {static_cast<int64_t>(moved.size()), static_cast<int64_t>((wanted.size() + kSector - 1) / kSector)};
}

/// Of those lanes that take their turns together: all, or a half or quarter of them for longer accesses.
Efficiency wavefronts(const std::map<int, uint64_t>& addresses, size_t bytes) {
  const int together = bytes <= 4 ? 32 : bytes <= 8 ? 16 : 8;
  Efficiency sum;
  for (int first = 0; first < 32; first += together) {
    std::set<uint64_t> words;
    for (auto at = addresses.lower_bound(first); at != addresses.lower_bound(first + together); ++at)
      for (uint64_t word = at->second / kWord; word <= (at->second + bytes - 1) / kWord; ++word)
        words.insert(word);
    int64_t of_bank[kBanks] = {};
    for (const uint64_t word : words) ++of_bank[word % kBanks];
    sum += {*std::max_element(of_bank, of_bank + kBanks),
            static_cast<int64_t>((words.size() + kBanks - 1) / kBanks)};
  }
  return sum;
}

}  // namespace

void BlockAccesses::add(int thread, uint32_t code, bool shared, uint64_t address, size_t bytes) {
  constexpr size_t kMost = 16, kPack = 2 * kMost;  // that an instruction takes; that kernels take at once
  if (bytes > kPack) return;                       // by the unit for bulk copies
  for (; bytes > kMost; address += kMost, bytes -= kMost) add(thread, code, shared, address, kMost);
  const uint32_t turn = turns_[uint64_t(thread) << 32 | code]++;
  // A number for each, that two would share is as good as impossible.
  const uint64_t key =
      ((uint64_t(thread / 32) << 32 | code) * 0x9E3779B97F4A7C15u) ^ (turn * 0xBF58476D1CE4E5B9u);
  Request& request = requests_[key];
  request.code = code;
  request.shared = shared;
  request.bytes = bytes;
  request.addresses[thread % 32] = address;
}

void BlockAccesses::sum_up(Patterns& patterns) const {
  for (const auto& [key, request] : requests_) {
    const Efficiency found = request.shared ? wavefronts(request.addresses, request.bytes)
                                            : sectors(request.addresses, request.bytes);
    (request.shared ? patterns.shared : patterns.global) += found;
    (request.shared ? patterns.shared_lines : patterns.global_lines)[request.code] += found;
  }
}

}  // namespace scrawl
