// Counts accesses.  What is not the device's memory is not counted: threads' own variables, shared memory,
// constants.
#include <map>
#include <vector>

#include "kernels/simt/block.h"
#include "kernels/simt/observer.h"
#include "tests/observed/accesses/accesses.h"
#include "tests/observed/regions.h"
#include "tests/observed/source.h"

namespace scrawl {
namespace {

constexpr uintptr_t kSector = 32;  // bytes that a GPU moves at least

/// The last launch that read or wrote each sector.
struct Sectors {
  std::vector<uint32_t> read, written;
};

class Counter final : public simt::Observer {
 public:
  void add_memory(const void* memory, size_t bytes) override {
    const std::vector<uint32_t> none(bytes / kSector + 1);
    regions_.add(memory, bytes, {none, none});
  }

  void remove_memory(const void* memory) override { regions_.remove(memory); }

  void begin_launch(std::string_view name) override {
    running_ = &by_kernel[std::string(name)];
    ++running_->launches;
    ++launch_;
  }
  void begin_block(const LaunchShape& shape, int64_t number) override {
    in_block_ = true;
    looks_closer_ = number == 0 || number == shape.grid.count() / 2;
  }
  void end_block() override {
    in_block_ = looks_closer_ = false;
    block_.sum_up(running_->patterns);
    block_.clear();
  }
  void end_launch() override { running_ = nullptr; }

  void access(const void* pointer, size_t bytes, simt::Access kind, const void* code) override {
    if (!running_ || bytes == 0) return;
    if (in_block_ && shared_memory().contains(pointer, 1)) {
      if (looks_closer_) look_at(code, true, shared_memory().offset_of(pointer), bytes);
      return;
    }
    const auto [sectors, offset] = regions_.find(pointer);
    if (!sectors) return;
    if (looks_closer_) look_at(code, false, reinterpret_cast<uintptr_t>(pointer), bytes);
    running_->bytes += static_cast<int64_t>(bytes);
    std::vector<uint32_t>& seen = kind == simt::Access::read ? sectors->read : sectors->written;
    for (size_t sector = offset / kSector; sector <= (offset + bytes - 1) / kSector; ++sector) {
      if (seen[sector] == launch_) continue;
      seen[sector] = launch_;
      running_->touched += kSector;
    }
  }

  std::map<std::string, Accesses> by_kernel;

 private:
  static simt::SharedMemory& shared_memory() { return simt::Block::current().shared_memory(); }
  void look_at(const void* code, bool shared, uint64_t address, size_t bytes) {
    block_.add(simt::Block::current().running(), simt::code_number(code), shared, address, bytes);
  }

  simt::Regions<Sectors> regions_;
  Accesses* running_ = nullptr;  // null outside of kernels
  uint32_t launch_ = 0;
  bool in_block_ = false;      // not a library's product, nor between blocks
  bool looks_closer_ = false;  // at the block that runs
  BlockAccesses block_;
};

Counter counter;

}  // namespace

void start_counting() {
  simt::observer = &counter;
}

const std::map<std::string, Accesses>& counted_accesses() {
  return counter.by_kernel;
}

}  // namespace scrawl
