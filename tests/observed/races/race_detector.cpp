#include "tests/observed/races/race_detector.h"

#include <algorithm>
#include <bit>

#include "kernels/simt/block.h"
#include "kernels/simt/fault.h"
#include "tests/observed/source.h"

namespace scrawl::simt {

namespace {

/// Of the block that runs.
SharedMemory& shared_memory() {
  return Block::current().shared_memory();
}
int running() {
  return Block::current().running();
}

Mark mark(int actor, Clock clock, uint32_t code, bool atomic = false) {
  Mark made;
  made.actor = actor;
  made.atomic = atomic;
  made.clock = clock;
  made.code = code;
  return made;
}

}  // namespace

// --- beginnings and ends ----------------------------------------------------------------------------------

void RaceDetector::begin_launch(std::string_view) {
  global_.begin_launch();
  meetings_.clear();
}

void RaceDetector::begin_block(const LaunchShape& shape, int64_t number) {
  inside_ = true;
  threads_ = static_cast<int>(shape.block.count());
  warpgroups_ = (threads_ + kWarpgroup - 1) / kWarpgroup;
  block_ = static_cast<uint32_t>(number) + 1;
  const int actors = threads_ + warpgroups_ + kBarriers;
  shared_.begin_block();
  clocks_.assign(threads_, 1);
  stand_in_.assign(threads_, false);
  seen_.clear(threads_, actors);
  shown_.clear(threads_, actors);
  fenced_.assign(threads_, 0);
  announcements_.assign(kBarriers, {std::vector<Clock>(actors), std::vector<Clock>(actors)});
  products_.assign(warpgroups_, {});
  registers_.assign(threads_, {});
  other_blocks_.clear();
  race_.clear();
}

void RaceDetector::end_block() {
  inside_ = false;
  if (!race_.empty()) fail(race_);
}

// --- what orders threads ----------------------------------------------------------------------------------

void RaceDetector::tick(int thread) {
  if (++clocks_[thread] > kLastClock && race_.empty())
    race_ = "meets more often than the race detector counts";
}

void RaceDetector::meet_block() {
  seen_.share(clocks_);
  shown_.share();
  for (int i = 0; i < threads_; ++i) tick(i);
}

void RaceDetector::meet_warp(unsigned lanes) {
  const int first = running() / 32 * 32;
  const auto each = [&](auto body) {
    for (unsigned left = lanes; left; left &= left - 1) body(first + std::countr_zero(left));
  };
  each([&](int i) { seen_.learn(i, i, clocks_[i]); });
  std::vector<Clock> seen = seen_.all(running()), shown = shown_.all(running());
  each([&](int i) {
    raise_to(seen, seen_.all(i));
    raise_to(shown, shown_.all(i));
  });
  each([&](int i) {
    seen_.learn(i, seen);
    shown_.learn(i, shown);
    tick(i);
  });
}

void RaceDetector::show_writes() {
  const int thread = running();
  seen_.learn(thread, thread, clocks_[thread]);
  shown_.learn(thread, seen_.all(thread));
  tick(thread);
}

// --- what orders blocks -----------------------------------------------------------------------------------

void RaceDetector::fence_device() {
  const int thread = running();
  seen_.learn(thread, thread, clocks_[thread]);
  for (int i = 0; i < threads_; ++i) fenced_[i] = std::max(fenced_[i], seen_.of(thread, i));
  tick(thread);
}

/// By an atomic operation, after a fence.
void RaceDetector::meet_at(const void* word) {
  std::map<uint32_t, std::vector<Clock>>& blocks = meetings_[word];
  for (const auto& [block, shown] : blocks)
    if (block != block_) other_blocks_[block] = shown;
  std::vector<Clock>& mine = blocks[block_];
  mine.resize(threads_);
  for (int i = 0; i < threads_; ++i)
    mine[i] = std::max(mine[i], i == running() ? fenced_[i] : std::min(fenced_[i], seen_.of(running(), i)));
}

// --- copies and products ----------------------------------------------------------------------------------

void RaceDetector::announce_copies(int barrier) {
  const int thread = running();
  seen_.learn(thread, thread, clocks_[thread]);
  Announcement& announced = announcements_.at(barrier);
  raise_to(announced.seen, seen_.all(thread));
  raise_to(announced.shown, shown_.all(thread));
  tick(thread);
}

void RaceDetector::start_copy(int barrier, unsigned phase, const void* tile, size_t bytes, const void* code) {
  const Mark copy = mark(copies_of(barrier), phase, code_number(code));
  const int thread = running();
  const size_t first = shared_memory().offset_of(tile);
  for (size_t offset = first; offset < first + bytes; ++offset) {
    const Mark before = shared_.at(offset).write;
    if (before.clock && before.actor < threads_ && shown_.of(thread, before.actor) < before.clock) {
      report(copy, true, before, true, "byte " + std::to_string(offset - first) + " of a tile",
             "nothing has shown the latter to copies");
      break;
    }
  }
  access_shared(first, bytes, copy, true);
}

void RaceDetector::end_phase(int barrier, unsigned phase) {
  const int thread = running();
  Announcement& announced = announcements_.at(barrier);
  seen_.learn(thread, announced.seen);
  shown_.learn(thread, announced.shown);
  seen_.learn(thread, copies_of(barrier), phase);
  shown_.learn(thread, copies_of(barrier), phase);
}

void RaceDetector::start_product(const void* code) {
  const int warpgroup = running() / kWarpgroup;
  Products& products = products_[warpgroup];
  ++products.started;
  products.code = code_number(code);
  products.sees = shown_.all(kWarpgroup * warpgroup);
  for (int thread = kWarpgroup * warpgroup; thread < kWarpgroup * (warpgroup + 1); ++thread)
    for (size_t i = 0; i < products.sees.size(); ++i)
      products.sees[i] = std::min(products.sees[i], shown_.of(thread, static_cast<int>(i)));
}

void RaceDetector::keep_registers(int thread, const void* words) {
  const int warpgroup = thread / kWarpgroup;
  const Products& products = products_[warpgroup];
  registers_[thread].push_back(
      {reinterpret_cast<uintptr_t>(words), mark(products_of(warpgroup), products.started, products.code)});
}

void RaceDetector::read_operand(const void* pointer, size_t bytes) {
  const int warpgroup = running() / kWarpgroup;
  const Products& products = products_[warpgroup];
  const Mark mine = mark(products_of(warpgroup), products.started, products.code);
  const size_t first = shared_memory().offset_of(pointer);
  for (size_t offset = first; offset < first + bytes; ++offset) {
    SharedByte& byte = shared_.at(offset);
    if (byte.write.clock > products.sees[byte.write.actor])
      report(mine, false, byte.write, true, "byte " + std::to_string(offset) + " of shared memory",
             "nothing has shown the latter to the former");
    byte.warpgroups |= 1u << warpgroup;
    byte.products[warpgroup] = mine;
  }
}

void RaceDetector::end_products(int64_t count) {
  const int warpgroup = running() / kWarpgroup;
  for (int thread = kWarpgroup * warpgroup; thread < kWarpgroup * (warpgroup + 1); ++thread) {
    seen_.learn(thread, products_of(warpgroup), static_cast<Clock>(count));
    shown_.learn(thread, products_of(warpgroup), static_cast<Clock>(count));
    std::erase_if(registers_[thread],
                  [=](const Registers& registers) { return registers.product.clock <= count; });
  }
}

// --- accesses ---------------------------------------------------------------------------------------------

bool RaceDetector::knows(int thread, const Mark& mark) const {
  return mark.clock == 0 || static_cast<int>(mark.actor) == thread ||
         seen_.of(thread, mark.actor) >= mark.clock;
}

void RaceDetector::reads_stand_in(bool stands_in) {
  stand_in_[running()] = stands_in;
}

void RaceDetector::access(const void* pointer, size_t bytes, Access kind, const void* code) {
  if (!inside_) return;
  const int thread = running();
  const auto address = reinterpret_cast<uintptr_t>(pointer);
  const auto shared = reinterpret_cast<uintptr_t>(shared_memory().begin());
  const bool in_shared = address - shared < SharedMemory::kCapacity;
  const Mark mine = mark(thread, clocks_[thread], code_number(code), kind == Access::atomic);
  if (!in_shared) {
    if (kind == Access::read && stand_in_[thread]) return;
    if (kind == Access::write) write_registers(address, bytes, mine);
    if (kind == Access::atomic) meet_at(pointer);
    if (!regions_.find(pointer).content) return;
  }
  const bool writes = kind != Access::read;
  if (in_shared)
    access_shared(address - shared, bytes, mine, writes);
  else
    access_global(address, bytes, mine, writes);
}

void RaceDetector::write_registers(uintptr_t address, size_t bytes, const Mark& mine) {
  constexpr uintptr_t kOperand = 16;
  for (const Registers& kept : registers_[running()])
    if (address < kept.begin + kOperand && kept.begin < address + bytes)
      report(mine, true, kept.product, false, "a register", "the latter may not have ended");
}

void RaceDetector::access_shared(size_t offset, size_t bytes, const Mark& mine, bool writes) {
  const int thread = running();  // for a copy: who starts it
  for (const size_t end = offset + bytes; offset < end; ++offset) {
    SharedByte& byte = shared_.at(offset);
    const auto check = [&](const Mark& before, bool wrote) {
      if (knows(thread, before)) return;
      report(mine, writes, before, wrote, "byte " + std::to_string(offset) + " of shared memory");
    };
    check(byte.write, true);
    if (!mine.atomic) check(byte.atomic, true);
    if (!writes) {
      byte.warps |= 1u << thread / 32;
      byte.reads[thread / 32] = mine;
      continue;
    }
    for (uint32_t left = byte.warps; left; left &= left - 1) check(byte.reads[std::countr_zero(left)], false);
    for (uint32_t left = byte.warpgroups; left; left &= left - 1)
      check(byte.products[std::countr_zero(left)], false);
    byte.warps = byte.warpgroups = 0;
    (mine.atomic ? byte.atomic : byte.write) = mine;
  }
}

bool RaceDetector::in_order(const GlobalMark& before) const {
  if (before.block == 0) return true;
  if (before.block == block_) return knows(running(), before.mark);
  const auto known = other_blocks_.find(before.block);
  return known != other_blocks_.end() && known->second[before.mark.actor] >= before.mark.clock;
}

void RaceDetector::access_global(uintptr_t address, size_t bytes, const Mark& mine, bool writes) {
  for (const uintptr_t end = address + bytes; address < end; ++address) {
    GlobalByte& byte = global_.at(address);
    const auto check = [&](const GlobalMark& before, bool wrote) {
      if (in_order(before)) return;
      const std::string other =
          before.block == block_ ? "" : ", block number " + std::to_string(before.block - 1);
      report(mine, writes, before.mark, wrote, "global memory" + other);
    };
    check(byte.write, true);
    if (!mine.atomic) check(byte.atomic, true);
    if (!writes) {
      if (byte.read.block != block_)
        byte.read_elsewhere = byte.read;
      else if (!in_order(byte.read))
        byte.read_beside = byte.read;
      byte.read = {block_, mine};
      continue;
    }
    check(byte.read, false);
    check(byte.read_beside, false);
    check(byte.read_elsewhere, false);
    byte.read = byte.read_beside = byte.read_elsewhere = {};
    (mine.atomic ? byte.atomic : byte.write) = {block_, mine};
  }
}

// --- messages ---------------------------------------------------------------------------------------------

std::string RaceDetector::name(int actor) const {
  if (actor < threads_) return Block::current().thread_name(actor);
  if (actor < copies_of(0)) return "a product of warpgroup " + std::to_string(actor - threads_);
  return "a copy for barrier " + std::to_string(actor - copies_of(0));
}

/// Only a block's first race: others often follow from it.
void RaceDetector::report(const Mark& mine, bool writes, const Mark& other, bool other_writes,
                          const std::string& place, const char* why) {
  if (!race_.empty()) return;
  race_ = "has a race: " + name(mine.actor) + (writes ? " writes to " : " reads from ") + place + " at " +
          source_of(mine.code) + ", " + name(other.actor) + (other_writes ? " has written" : " has read") +
          " at " + source_of(other.code) + ", and " + why;
}

}  // namespace scrawl::simt
