#include "engine/memory.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <limits>
#include <vector>

#include "engine/error.h"
#include "kernels/host_memory.h"
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

namespace scrawl {
namespace {

constexpr int64_t kAlignment = 256;
constexpr int64_t kPage = int64_t{2} << 20;  // of a GPU's memory
constexpr int64_t kLeastSegment = int64_t{32} << 20;
constexpr int64_t kWorthWaiting = int64_t{8} << 20;  // for what runs beside: a block of so many bytes
constexpr int64_t kBand = 256;                       // bytes on either side of a guarded block
constexpr auto kBandByte = std::byte{0xA5};
constexpr auto kNanByte = std::byte{0xFF};  // all ones is NaN in f32 and bf16, and -1 or 255 as an integer

int64_t rounded(int64_t bytes, int64_t unit = kAlignment) {
  return std::max(unit, (bytes + unit - 1) / unit * unit);
}

void mark_for_sanitizer([[maybe_unused]] std::byte* memory, [[maybe_unused]] int64_t bytes,
                        [[maybe_unused]] bool usable) {
#ifdef __SANITIZE_ADDRESS__
  usable ? __asan_unpoison_memory_region(memory, bytes) : __asan_poison_memory_region(memory, bytes);
#endif
}

}  // namespace

SystemMemory host_memory() {
  return {[](int64_t bytes) { return static_cast<std::byte*>(allocate_host_memory(bytes)); },
          [](std::byte* memory) { std::free(memory); },
          [](std::byte* memory, std::byte value, int64_t bytes) { std::fill_n(memory, bytes, value); },
          [](std::byte* host, const std::byte* memory, int64_t bytes) { std::memcpy(host, memory, bytes); },
          mark_for_sanitizer};
}

int64_t host_free_bytes() {
  std::ifstream in("/proc/meminfo");
  for (std::string key; in >> key; in.ignore(std::numeric_limits<std::streamsize>::max(), '\n')) {
    int64_t kibibytes = 0;
    if (key == "MemAvailable:" && in >> kibibytes) return 1024 * kibibytes;
  }
  return int64_t{1024} * 1024 * 1024;  // no Linux as we know it: careful
}

Allocator::~Allocator() {
  for (const auto& [number, segment] : segments_) system_.release(segment.memory);
}

std::byte* Allocator::allocate(int64_t bytes) {
  require(bytes >= 0, "cannot allocate {} bytes", bytes);
  const int64_t size = rounded(bytes);
  while (size >= kWorthWaiting && in_use_with(pool_, size) > statistics_.peak && release_some_()) continue;
  const Place place = find_block(size);
  cut(place, size);
  blocks_[place] = {.size = size, .requested = bytes, .used = true};
  std::byte* const block = address_of(place);
  used_[block] = place;
  count(pool_, size);
  system_.mark(block, bytes, true);
  if (guard_) {
    fill_band(block - kBand, block);
    system_.fill(block, kNanByte, bytes);
    fill_band(block + bytes, block + size + kBand);
  }
  return block;
}

/// A free block of at least `size` bytes, of the pool in use.
Allocator::Place Allocator::find_block(int64_t size) {
  FreeBlocks& free = free_in(pool_);
  const auto best = [&] { return free.lower_bound({size, {}}); };
  const auto found = [&] { return best() != free.end() && fits(best()->first, size); };
  if (!found() && pool_ == Pool::captured) adopt_segment(size);
  while (!found() && release_some_()) continue;
  if (!found()) add_segment(size);
  return best()->second;
}

/// Moves an ordinary segment without a block in use to the captured pool: so a capture gets the memory of the
/// run ahead of it, which would otherwise be kept for nothing.
void Allocator::adopt_segment(int64_t size) {
  FreeBlocks& free = free_in(Pool::ordinary);
  for (auto it = free.lower_bound({size, {}}); it != free.end() && fits(it->first, size); ++it) {
    Segment& segment = segments_.at(it->second.segment);
    if (it->first != segment.size) continue;
    segment.pool = Pool::captured;
    free_in(Pool::captured).insert(free.extract(it));
    return;
  }
}

/// A new segment that holds `size` bytes.
void Allocator::add_segment(int64_t size) {
  Segment segment{.size = guard_ ? size : std::max(rounded(size, kPage), kLeastSegment), .pool = pool_};
  segment.memory = from_system(segment.size);
  if (!segment.memory) {
    trim();
    segment.memory = from_system(segment.size);
  }
  if (!segment.memory) {
    segment.size = size;
    segment.memory = from_system(size);
  }
  if (!segment.memory)
    throw OutOfMemory(fmt::format("out of memory: {} bytes asked for, {} in use, {} held", size,
                                  statistics_.in_use, statistics_.reserved));
  system_.mark(segment.memory, guard_ ? size + 2 * kBand : segment.size, false);
  statistics_.reserved += segment.size;
  statistics_.peak_reserved = std::max(statistics_.peak_reserved, statistics_.reserved);
  const Place place{next_segment_++, 0};
  segments_[place.segment] = segment;
  blocks_[place] = {.size = segment.size};
  free_in(pool_).insert({segment.size, place});
}

std::byte* Allocator::from_system(int64_t bytes) {
  return system_.allocate(guard_ ? bytes + 2 * kBand : bytes);
}

/// Takes a free block out of the list, and leaves what it has beyond `size` bytes there.
void Allocator::cut(Place place, int64_t size) {
  FreeBlocks& free = free_in(segments_.at(place.segment).pool);
  const int64_t whole = blocks_.at(place).size;
  free.erase({whole, place});
  if (whole == size) return;
  const Place rest{place.segment, place.offset + size};
  blocks_[rest] = {.size = whole - size};
  free.insert({whole - size, rest});
}

void Allocator::release(std::byte* block) {
  auto it = blocks_.find(used_.extract(block).mapped());
  const int64_t segment = it->first.segment;
  const Pool pool = segments_.at(segment).pool;
  if (guard_) check_bands(block, it->second);
  // Captured kernels come back to what is released.
  if (pool == Pool::ordinary) system_.mark(block, it->second.size, false);
  count(pool, -it->second.size);
  FreeBlocks& free = free_in(pool);
  const auto is_free = [&](Blocks::iterator other) {
    return other != blocks_.end() && other->first.segment == segment && !other->second.used;
  };
  // Takes in what follows.
  const auto grow = [&](Blocks::iterator from) {
    const auto next = std::next(from);
    from->second.size += next->second.size;
    blocks_.erase(next);
  };
  it->second.used = false;
  if (const auto next = std::next(it); is_free(next)) {
    free.erase({next->second.size, next->first});
    grow(it);
  }
  if (it != blocks_.begin() && is_free(std::prev(it))) {
    --it;
    free.erase({it->second.size, it->first});
    grow(it);
  }
  free.insert({it->second.size, it->first});
}

void Allocator::end_captures() {
  for (auto& [number, segment] : segments_) segment.pool = Pool::ordinary;
  for (const auto& [size, place] : free_in(Pool::captured)) system_.mark(address_of(place), size, false);
  free_in(Pool::ordinary).merge(free_in(Pool::captured));
  const int64_t still_live = live_[static_cast<int>(Pool::captured)];
  live_[static_cast<int>(Pool::captured)] = captured_peak_ = 0;
  count(Pool::ordinary, still_live);
}

void Allocator::trim() {
  FreeBlocks& free = free_in(Pool::ordinary);
  for (auto it = free.begin(); it != free.end();) {
    const auto [size, place] = *it;
    const auto segment = segments_.find(place.segment);
    if (size != segment->second.size) {
      ++it;
      continue;
    }
    std::byte* const memory = segment->second.memory;
    system_.release(memory);
    statistics_.reserved -= size;
    segments_.erase(segment);
    blocks_.erase(place);
    it = free.erase(it);
  }
}

/// What would be in use with so many more bytes of a pool.
int64_t Allocator::in_use_with(Pool pool, int64_t bytes) const {
  const int64_t ordinary = live_[static_cast<int>(Pool::ordinary)];
  if (pool == Pool::ordinary) return ordinary + bytes + captured_peak_;
  return ordinary + std::max(captured_peak_, live_[static_cast<int>(Pool::captured)] + bytes);
}

void Allocator::count(Pool pool, int64_t bytes) {
  statistics_.in_use = in_use_with(pool, bytes);
  live_[static_cast<int>(pool)] += bytes;
  captured_peak_ = std::max(captured_peak_, live_[static_cast<int>(Pool::captured)]);
  statistics_.peak = std::max(statistics_.peak, statistics_.in_use);
}

void Allocator::reset_peak() {
  statistics_.peak = statistics_.in_use;
  statistics_.peak_reserved = statistics_.reserved;
}

std::byte* Allocator::address_of(Place place) const {
  return segments_.at(place.segment).memory + (guard_ ? kBand : 0) + place.offset;
}

void Allocator::fill_band(std::byte* begin, std::byte* end) {
  system_.mark(begin, end - begin, true);
  system_.fill(begin, kBandByte, end - begin);
  system_.mark(begin, end - begin, false);
}

void Allocator::check_bands(std::byte* block, const Block& info) {
  if (!is_whole(block - kBand, block))
    damage_ += fmt::format("bytes written ahead of a block of {} bytes; ", info.requested);
  if (!is_whole(block + info.requested, block + info.size + kBand))
    damage_ += fmt::format("bytes written behind a block of {} bytes; ", info.requested);
}

bool Allocator::is_whole(std::byte* begin, std::byte* end) const {
  std::vector<std::byte> band(end - begin);
  system_.mark(begin, end - begin, true);
  system_.copy_to_host(band.data(), begin, end - begin);
  system_.mark(begin, end - begin, false);
  return std::ranges::all_of(band, [](std::byte b) { return b == kBandByte; });
}

const std::string& Allocator::damage() {
  if (guard_)
    for (const auto& [block, place] : used_) check_bands(block, blocks_.at(place));
  return damage_;
}

}  // namespace scrawl
