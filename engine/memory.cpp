#include "engine/memory.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <limits>
#include <new>

#include "engine/error.h"

namespace scrawl {
namespace {

constexpr int64_t kAlignment = 256;
constexpr int64_t kBand = 256;  // bytes on either side of a guarded block
constexpr auto kBandByte = std::byte{0xA5};
constexpr auto kNanByte = std::byte{0xFF};  // all ones is NaN in f32 and bf16, and -1 or 255 as an integer

int64_t rounded(int64_t bytes) {
  return std::max(kAlignment, (bytes + kAlignment - 1) / kAlignment * kAlignment);
}

}  // namespace

SystemMemory host_memory() {
  return {[](int64_t bytes) { return static_cast<std::byte*>(std::aligned_alloc(kAlignment, bytes)); },
          [](std::byte* memory) { std::free(memory); },
          [](std::byte* memory, std::byte value, int64_t bytes) { std::fill_n(memory, bytes, value); },
          [](std::byte* host, const std::byte* memory, int64_t bytes) { std::memcpy(host, memory, bytes); }};
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
  for (FreeBlocks& free : free_) trim(free);
}

void Allocator::trim() {
  trim(free_[static_cast<int>(Pool::ordinary)]);
}

void Allocator::trim(FreeBlocks& free) {
  for (auto& [size, blocks] : free) {
    for (std::byte* block : blocks) system_.release(guard_ ? block - kBand : block);
    statistics_.reserved -= size * static_cast<int64_t>(blocks.size());
  }
  free.clear();
}

std::byte* Allocator::allocate(int64_t bytes) {
  require(bytes >= 0, "cannot allocate {} bytes", bytes);
  const int64_t size = rounded(bytes);
  std::byte* block = nullptr;
  FreeBlocks& free = free_[static_cast<int>(pool_)];
  bool counted = false;
  if (auto it = free.find(size); it != free.end() && !it->second.empty()) {
    counted = pool_ == Pool::captured;
    block = it->second.back();
    it->second.pop_back();
  } else {
    const int64_t bands = guard_ ? 2 * kBand : 0;
    block = system_.allocate(size + bands);
    if (!block) {
      trim();
      block = system_.allocate(size + bands);
    }
    if (!block)
      throw OutOfMemory(
          fmt::format("out of memory: {} bytes asked for, {} in use", bytes, statistics_.in_use));
    if (guard_) block += kBand;
    statistics_.reserved += size;
  }
  if (guard_) {
    system_.fill(block - kBand, kBandByte, kBand);
    system_.fill(block, kNanByte, bytes);
    system_.fill(block + bytes, kBandByte, size - bytes + kBand);
  }
  used_[block] = {size, bytes, pool_};
  if (!counted) statistics_.in_use += size;
  statistics_.peak = std::max(statistics_.peak, statistics_.in_use);
  return block;
}

void Allocator::release(std::byte* block) {
  const auto it = used_.find(block);
  const Block info = it->second;
  used_.erase(it);
  if (guard_) check_bands(block, info);
  if (info.pool == Pool::ordinary) statistics_.in_use -= info.size;
  free_[static_cast<int>(info.pool)][info.size].push_back(block);
}

void Allocator::check_bands(const std::byte* block, const Block& info) {
  if (!is_whole(block - kBand, block))
    damage_ += fmt::format("bytes written ahead of a block of {} bytes; ", info.requested);
  if (!is_whole(block + info.requested, block + info.size + kBand))
    damage_ += fmt::format("bytes written behind a block of {} bytes; ", info.requested);
}

bool Allocator::is_whole(const std::byte* begin, const std::byte* end) const {
  std::vector<std::byte> band(end - begin);
  system_.copy_to_host(band.data(), begin, end - begin);
  return std::ranges::all_of(band, [](std::byte b) { return b == kBandByte; });
}

const std::string& Allocator::damage() {
  if (guard_)
    for (const auto& [block, info] : used_) check_bands(block, info);
  return damage_;
}

}  // namespace scrawl
