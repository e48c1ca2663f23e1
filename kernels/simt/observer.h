#pragma once
// Someone who looks on while kernels run: at their reads and writes, in a build that reports them (preset
// "observed"), and at all that orders these.  tests/observed has one that counts accesses, one that looks for
// races within a kernel, and one that looks for kernels on different lanes that do not wait for each other.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "kernels/launch_shape.h"

namespace scrawl::simt {

enum class Access { read, write, atomic };

struct Observer;
/// Null where nobody looks on.
inline constinit Observer* observer = nullptr;

/// All calls come from one thread of the operating system; `code` is the address of a kernel's instruction.
struct Observer {
  virtual ~Observer() {
    if (observer == this) observer = nullptr;  // memory is given back after it, when the program ends
  }

  virtual void add_memory(const void*, size_t /*bytes*/) {}
  /// Where memory was added, or something else that has now been given back.
  virtual void remove_memory(const void*) {}
  /// A kernel or, in its place on the GPU, a library's.
  virtual void begin_launch(std::string_view /*name*/) {}
  virtual void end_launch() {}
  // Lanes of kernels; see Queue.
  virtual void begin_aside() {}
  virtual void begin_background() {}
  virtual void turn_back() {}
  virtual void join() {}
  virtual void join_oldest_aside() {}
  /// A block, by its number in the grid, x fastest.
  virtual void begin_block(const LaunchShape&, int64_t /*number*/) {}
  /// May fail().
  virtual void end_block() {}

  // By the running thread:
  virtual void access(const void*, size_t /*bytes*/, Access, const void* /*code*/) {}
  /// See device/stand_in.cuh.
  virtual void reads_stand_in(bool) {}
  /// __threadfence()
  virtual void fence_device() {}
  /// Shows what it and those that it has waited for have written to units that work beside threads.
  virtual void show_writes() {}
  /// Copies to a tile, for a phase (the first is 1) of the barrier of that number in its block.
  virtual void start_copy(int /*barrier*/, unsigned /*phase*/, const void* /*tile*/, size_t /*bytes*/,
                          const void* /*code*/) {}
  virtual void announce_copies(int /*barrier*/) {}
  virtual void end_phase(int /*barrier*/, unsigned /*phase*/) {}

  // By all threads of its block, by those lanes of its warp, by its warpgroup:
  virtual void meet_block() {}
  virtual void meet_warp(unsigned /*lanes*/) {}
  virtual void start_product(const void* /*code*/) {}
  /// The product that started last has its left operand in these 16 bytes of a thread of its warpgroup.
  virtual void keep_registers(int /*thread*/, const void*) {}
  /// By the product that started last.
  virtual void read_operand(const void*, size_t /*bytes*/) {}
  /// So many products, the first ones of the block, have ended.
  virtual void end_products(int64_t /*count*/) {}
};

}  // namespace scrawl::simt
