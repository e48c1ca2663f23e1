#pragma once
// What is remembered of every byte.
#include <array>
#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "kernels/simt/shared_memory.h"
#include "tests/observed/races/mark.h"

namespace scrawl::simt {

struct SharedByte {
  static constexpr int kWarps = 32, kWarpgroups = 8;
  Mark write, atomic;                  // the last
  uint32_t warps = 0, warpgroups = 0;  // that have read since
  Mark reads[kWarps];
  Mark products[kWarpgroups];
};

/// Of a block's shared memory, by offset.
class SharedShadow {
 public:
  void begin_block() { ++block_; }
  SharedByte& at(size_t offset) {
    Entry& entry = entries_[offset];
    if (entry.block != block_) {
      entry.block = block_;
      entry.byte.write = entry.byte.atomic = {};
      entry.byte.warps = entry.byte.warpgroups = 0;
    }
    return entry.byte;
  }

 private:
  struct Entry {
    uint32_t block = 0;
    SharedByte byte;
  };
  std::unique_ptr<Entry[]> entries_ = std::make_unique<Entry[]>(SharedMemory::kCapacity);
  uint32_t block_ = 0;
};

/// By a block, from 1; 0: there was none.
struct GlobalMark {
  uint32_t block = 0;
  Mark mark;
};

struct GlobalByte {
  uint32_t launch = 0;
  GlobalMark write, atomic, read;  // the last
  GlobalMark read_beside,
      read_elsewhere;  // the last by another thread of the last one's block; by another block
};

/// Of the device's memory, by address, during one launch.
class GlobalShadow {
 public:
  void begin_launch() {
    ++launch_;
    if (pages_.size() <= kPages) return;
    pages_.clear();
    page_ = nullptr;
  }
  GlobalByte& at(uintptr_t address) {
    if (!page_ || address / kPage != number_) {
      number_ = address / kPage;
      std::unique_ptr<Page>& page = pages_[number_];
      if (!page) page = std::make_unique<Page>();
      page_ = page.get();
    }
    GlobalByte& byte = (*page_)[address % kPage];
    if (byte.launch != launch_) {
      byte = {};
      byte.launch = launch_;
    }
    return byte;
  }

 private:
  static constexpr size_t kPage = 4096, kPages = 4000;  // 256 KB each
  using Page = std::array<GlobalByte, kPage>;
  std::unordered_map<uintptr_t, std::unique_ptr<Page>> pages_;
  Page* page_ = nullptr;
  uintptr_t number_ = 0;
  uint32_t launch_ = 0;
};

}  // namespace scrawl::simt
