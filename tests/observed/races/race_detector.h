#pragma once
// Finds accesses to the same byte that nothing orders, one of them a write, whatever the turns that threads
// took: vector clocks, as in FastTrack (Flanagan and Freund, PLDI 2009).  Actors are the threads of a block
// and, beside them, each warpgroup's products and each barrier's copies, which see a thread's writes once it
// has shown them (show_products()).  What orders threads: __syncthreads, __syncwarp, phases of copies; and
// blocks: __threadfence and an atomic operation at the same address.  A shuffle orders nothing.
// Registers of a product's left operand may not be written before it has ended.
// Remembered of a byte are its last write and, in shared memory, the last read by each warp and product,
// elsewhere the last read, one beside it by another thread of that block, and one by another block.
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "kernels/simt/observer.h"
#include "tests/observed/races/knowledge.h"
#include "tests/observed/races/mark.h"
#include "tests/observed/races/shadow.h"
#include "tests/observed/regions.h"

namespace scrawl::simt {

class RaceDetector final : public Observer {
 public:
  void add_memory(const void* memory, size_t bytes) override { regions_.add(memory, bytes, {}); }
  void remove_memory(const void* memory) override { regions_.remove(memory); }
  void begin_launch(std::string_view name) override;
  void begin_block(const LaunchShape& shape, int64_t number) override;
  void end_block() override;

  void access(const void* pointer, size_t bytes, Access kind, const void* code) override;
  void reads_stand_in(bool stands_in) override;
  void fence_device() override;
  void show_writes() override;
  void start_copy(int barrier, unsigned phase, const void* tile, size_t bytes, const void* code) override;
  void announce_copies(int barrier) override;
  void end_phase(int barrier, unsigned phase) override;
  void meet_block() override;
  void meet_warp(unsigned lanes) override;
  void start_product(const void* code) override;
  void keep_registers(int thread, const void* words) override;
  void read_operand(const void* pointer, size_t bytes) override;
  void end_products(int64_t count) override;

 private:
  static constexpr int kBarriers = 16;

  int products_of(int warpgroup) const { return threads_ + warpgroup; }
  int copies_of(int barrier) const { return threads_ + warpgroups_ + barrier; }
  /// The running thread's next clock: others don't know of it what it does from here on.
  void tick(int thread);
  bool knows(int thread, const Mark& mark) const;
  void access_shared(size_t offset, size_t bytes, const Mark& mine, bool writes);
  void access_global(uintptr_t address, size_t bytes, const Mark& mine, bool writes);
  void write_registers(uintptr_t address, size_t bytes, const Mark& mine);
  bool in_order(const GlobalMark& before) const;
  void meet_at(const void* word);
  std::string name(int actor) const;
  void report(const Mark& mine, bool writes, const Mark& other, bool other_writes, const std::string& place,
              const char* why = "nothing orders the two");

  struct Nothing {};
  Regions<Nothing> regions_;
  SharedShadow shared_;
  GlobalShadow global_;

  bool inside_ = false;  // a block
  int threads_ = 0, warpgroups_ = 0;
  uint32_t block_ = 0;  // number in its grid, from 1
  std::vector<Clock> clocks_;
  std::vector<bool> stand_in_;  // threads that make nothing of what they read
  Knowledge seen_;              // what happened before
  Knowledge shown_;             // what of it a unit beside the threads sees that a thread starts now
  std::vector<Clock> fenced_;   // up to where a fence has shown a thread's writes to other blocks
  struct Announcement {
    std::vector<Clock> seen, shown;
  };
  std::vector<Announcement> announcements_;  // by barrier
  struct Products {
    Clock started = 0;
    uint32_t code = 0;
    std::vector<Clock> sees;  // least that any of its threads has been shown
  };
  std::vector<Products> products_;  // by warpgroup
  struct Registers {
    uintptr_t begin;
    Mark product;
  };
  std::vector<std::vector<Registers>> registers_;  // of products under way, by thread
  /// By address of an atomic operation: what those blocks had shown that came there.
  std::unordered_map<const void*, std::map<uint32_t, std::vector<Clock>>> meetings_;
  std::map<uint32_t, std::vector<Clock>> other_blocks_;  // what this block knows of others
  std::string race_;
};

}  // namespace scrawl::simt
