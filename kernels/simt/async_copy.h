#pragma once
// Copies that are under way (cp.async).  The simulator is unkind within the rules: from its start on, a copy
// has destroyed what was in its target, and it arrives as late as it may, when the thread waits for it.  So a
// kernel that reads too early reads NaN, and one that starts a copy into what others still read spoils it.
#include <cstdint>
#include <source_location>
#include <vector>

namespace scrawl::simt {

/// The copies of one thread.
class AsyncCopies {
 public:
  void start(void* target, const void* source, int bytes, bool valid, std::source_location where,
             const void* code);
  void commit() { ++group_; }
  void wait(int newest);
  /// Fails when a copy was never waited for.
  void check_none_open() const;
  void clear();

 private:
  struct Copy {
    void* target;
    const void* source;
    int bytes;
    bool valid;
    std::source_location where;
    int64_t group;
    const void* code;
    void report() const;
  };
  std::vector<Copy> copies_;  // in the order of their starts
  int64_t group_ = 0;         // the one that is open
};

/// For the running thread; see device/async_copy.cuh.
void start_copy(void* shared_target, const void* source, int bytes, bool valid, std::source_location where);
void close_copy_group();
void wait_for_copies(int newest);

}  // namespace scrawl::simt
