#pragma once
// How threads wait for one another: at a barrier all threads of a block, in a meeting some lanes of a warp or
// the threads of a warpgroup.
#include <source_location>

namespace scrawl::simt {

/// Waits until every thread of the block is here; returns how many came with `vote`.
int barrier(const char* what, bool vote, std::source_location where);

/// Lane of the running thread.
int current_lane();

/// Fails: the running thread wants to read from a lane that does not take part.
[[noreturn]] void fail_source(const char* what, unsigned mask, int source, std::source_location where);

namespace detail {
/// Enters the running thread into the meeting of the lanes in `mask`.  The operands of all 32 lanes (null
/// outside the mask) if it is the last one to come; else null, after the last one has ended the meeting.
void* const* join(const char* what, unsigned mask, void* operand, std::source_location where);
void end_meeting(unsigned mask);
/// The same for the 128 threads of a warpgroup.
void* const* join_warpgroup(const char* what, void* operand, std::source_location where);
void end_warpgroup_meeting();
}  // namespace detail

/// A warp's instruction: all lanes of `mask` come here, each with its operand; the last one to come calls
/// complete(operands of all 32 lanes, null outside the mask), which writes results into the operands.
template <typename Operand, typename Complete>
void meet(const char* what, unsigned mask, Operand& mine, Complete complete, std::source_location where) {
  void* const* operands = detail::join(what, mask, &mine, where);
  if (!operands) return;
  Operand* lanes[32];
  for (int i = 0; i < 32; ++i) lanes[i] = static_cast<Operand*>(operands[i]);
  complete(lanes);
  detail::end_meeting(mask);
}

inline constexpr int kWarpgroup = 128;

/// A warpgroup's instruction: the threads of four neighbouring warps come here.
template <typename Operand, typename Complete>
void meet_warpgroup(const char* what, Operand& mine, Complete complete, std::source_location where) {
  void* const* operands = detail::join_warpgroup(what, &mine, where);
  if (!operands) return;
  Operand* threads[kWarpgroup];
  for (int i = 0; i < kWarpgroup; ++i) threads[i] = static_cast<Operand*>(operands[i]);
  complete(threads);
  detail::end_warpgroup_meeting();
}

}  // namespace scrawl::simt
