#pragma once
// Runs one block at a time: lets its threads take turns until all have ended.  A thread runs undisturbed
// from one waiting place (barrier, warp instruction) to the next; there its fiber stops, and another thread
// goes on.  When everyone waits and nobody can go on, the kernel is wrong, and a Fault says who waits where.
#include <cstdint>
#include <exception>
#include <memory>
#include <source_location>
#include <string>
#include <vector>

#include "kernels/launch_shape.h"
#include "kernels/simt/async_copy.h"
#include "kernels/simt/bulk_copy.h"
#include "kernels/simt/fiber.h"
#include "kernels/simt/meeting.h"
#include "kernels/simt/order.h"
#include "kernels/simt/shared_memory.h"
#include "kernels/simt/thread.h"
#include "kernels/simt/wgmma.h"

namespace scrawl::simt {

/// A kernel with its arguments, ready to be called by every thread.
struct Job {
  const LaunchShape& shape;
  Order order;
  uint64_t seed;
  void (*call)(const void* arguments);
  const void* arguments;
};

class Block {
 public:
  /// The block that this thread of the operating system runs.
  static Block& current() { return *current_; }
  /// Serves this thread of the operating system for one block after another.
  static Block& mine();

  /// Runs block `index` (x fastest) of the job's grid.  Throws the first fault of its threads.
  void run(const Job& job, int64_t index);

  // For the running thread:
  int barrier(const char* what, bool vote, std::source_location where);
  void* const* join(const char* what, unsigned mask, void* operand, std::source_location where);
  void end_meeting(unsigned mask);
  void* const* join_warpgroup(const char* what, void* operand, std::source_location where);
  void end_warpgroup_meeting();
  AsyncProducts& products() { return warpgroups_[running_ / kWarpgroup].products; }
  BulkCopies& bulk_copies() { return bulk_copies_; }
  /// Waits until release_waiting_for() the same.
  void wait_for(const void* barrier, std::source_location where);
  void release_waiting_for(const void* barrier);
  int running() const { return running_; }
  int lane() const { return running_ % 32; }
  AsyncCopies& copies() { return threads_[running_].copies; }
  SharedMemory& shared_memory() { return shared_memory_; }
  /// "kernel relu.forward, block (0, 0, 0), thread (5, 0, 0)"; without the thread when none runs.
  std::string place() const;
  /// "thread (5, 0, 0)"
  std::string thread_name(int number) const;

 private:
  struct Thread {
    enum class State { fresh, ready, waiting, ended } state = State::fresh;
    uint3 index{};
    Fiber* fiber = nullptr;      // on which it waits, from its first wait on
    const char* what = nullptr;  // it waits for, and where
    std::source_location where;
    unsigned mask = 0;                // of the lanes that it waits for; else 0
    bool in_warpgroup = false;        // waits for its warpgroup
    const void* copies_of = nullptr;  // the barrier whose copies it waits for
    AsyncCopies copies;
  };
  /// Lanes that have come to a warp instruction.
  struct Meeting {
    const char* what = nullptr;
    unsigned mask = 0, arrived = 0;
    void* operands[32] = {};
  };
  /// Several meetings can be open in a warp, of different masks.
  struct Warp {
    unsigned lanes = 0, ended = 0;
    std::vector<Meeting> meetings;
  };

  /// Threads that have come to a warpgroup's instruction, and the products that it has under way.
  struct Warpgroup {
    const char* what = nullptr;
    int arrived = 0, first = 0, ended = 0;
    void* operands[kWarpgroup] = {};
    AsyncProducts products;
  };

  void prepare(const Job& job, int64_t index);
  void take_turns(uint64_t seed, uint64_t round);
  void run_fresh_threads();
  void run_thread(int number);
  void switch_to(int number);
  void enter(int number);
  void wait(const char* what, std::source_location where, unsigned mask, bool in_warpgroup = false);
  void release(int number);
  void abandon();
  bool at_barrier(const Thread& thread) const {
    return thread.state == Thread::State::waiting && thread.mask == 0 && !thread.in_warpgroup &&
           !thread.copies_of;
  }
  /// Whether thread a waits in the same meeting as thread b of its warp or warpgroup.
  bool waits_with(int a, int b) const {
    return threads_[a].state == Thread::State::waiting && threads_[a].mask == threads_[b].mask &&
           threads_[a].in_warpgroup == threads_[b].in_warpgroup &&
           threads_[a].copies_of == threads_[b].copies_of;
  }
  Meeting& meeting_of(unsigned mask);
  [[noreturn]] void fail_stuck() const;
  std::string describe(int number) const;

  static thread_local constinit Block* current_;
  const Job* job_ = nullptr;
  SharedMemory shared_memory_;
  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<Fiber*> idle_;
  std::vector<Thread> threads_;
  std::vector<Warp> warps_;
  std::vector<Warpgroup> warpgroups_;
  BulkCopies bulk_copies_;
  Turns turns_{Order::forward, 0, 0};
  int running_ = -1, ended_ = 0;
  Fiber* running_fiber_ = nullptr;
  int at_barrier_ = 0, votes_ = 0, barrier_result_ = 0, first_at_barrier_ = 0;
  std::exception_ptr fault_;
};

}  // namespace scrawl::simt
