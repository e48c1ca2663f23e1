#pragma once
// How well the accesses of a warp's lanes go together: an instruction for global memory moves whole sectors
// of 32 bytes, and one for shared memory takes a turn (a wavefront) for every word that shares a bank with
// another.  Here lanes run one after another, so that the n-th time each of them comes to an instruction is
// taken for the same.  Compilers differ: a pack of 16 bytes may be taken to pieces here that nvcc keeps.
#include <cstdint>
#include <map>
#include <string>
#include <unordered_map>

namespace scrawl {

/// Sectors or wavefronts, and how few there could be for as many bytes.
struct Efficiency {
  int64_t used = 0, least = 0;

  void operator+=(const Efficiency& other) {
    used += other.used;
    least += other.least;
  }
};

struct Patterns {
  Efficiency global, shared;
  std::map<uint32_t, Efficiency> global_lines, shared_lines;  // by code, see source.h
};

/// The accesses of one block.
class BlockAccesses {
 public:
  void clear() { requests_.clear(), turns_.clear(); }
  /// By a thread; `address` of shared memory from its beginning.
  void add(int thread, uint32_t code, bool shared, uint64_t address, size_t bytes);
  void sum_up(Patterns& patterns) const;

 private:
  struct Request {
    uint32_t code;
    bool shared;
    size_t bytes;
    std::map<int, uint64_t> addresses;  // by lane
  };
  std::unordered_map<uint64_t, Request> requests_;  // by warp, code and turn
  std::unordered_map<uint64_t, uint32_t> turns_;    // of a thread at an instruction, so far
};

}  // namespace scrawl
