#include "kernels/simt/block.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "kernels/simt/fault.h"
#include "kernels/simt/observer.h"

namespace scrawl::simt {

namespace {

uint3 place_in(const LaunchShape::Size& size, int64_t number) {
  return {static_cast<unsigned>(number % size.x), static_cast<unsigned>(number / size.x % size.y),
          static_cast<unsigned>(number / (size.x * size.y))};
}

dim3 extent(const LaunchShape::Size& size) {
  return {static_cast<unsigned>(size.x), static_cast<unsigned>(size.y), static_cast<unsigned>(size.z)};
}

std::string text(uint3 place) {
  std::string result = "(";
  result += std::to_string(place.x) + ", " + std::to_string(place.y) + ", " + std::to_string(place.z);
  return result += ")";
}

std::string text(unsigned mask) {
  constexpr char digits[] = "0123456789abcdef";
  std::string result = "mask 0x";
  for (int shift = 28; shift >= 0; shift -= 4) result += digits[mask >> shift & 15];
  return result;
}

bool same(const char* a, const char* b) {
  return a == b || std::strcmp(a, b) == 0;
}

bool same(const std::source_location& a, const std::source_location& b) {
  return a.line() == b.line() && a.column() == b.column() && same(a.file_name(), b.file_name());
}

}  // namespace

thread_local constinit Block* Block::current_ = nullptr;

Block& Block::mine() {
  static thread_local Block block;
  return block;
}

std::string Block::place() const {
  if (!job_) return "no kernel";
  std::string result = "kernel " + std::string(job_->shape.name) + ", block " + text(blockIdx);
  if (running_ >= 0) result += ", thread " + text(threadIdx);
  return result;
}

// --- turns ------------------------------------------------------------------------------------------------

void Block::run(const Job& job, int64_t index) {
  prepare(job, index);
  try {
    for (uint64_t round = 0; ended_ < std::ssize(threads_); ++round) {
      const uint64_t seed = mix(job.seed + index);
      turns_ = Turns(job.order, std::ssize(threads_), seed + round);
      take_turns(seed, round);
    }
    bulk_copies_.check_none_open();
    shared_memory_.check_guards();
    if (observer) observer->end_block();
  } catch (...) {
    abandon();
    throw;
  }
}

void Block::prepare(const Job& job, int64_t index) {
  current_ = this;
  job_ = &job;
  running_ = -1;
  ended_ = at_barrier_ = votes_ = 0;
  fault_ = nullptr;
  blockIdx = place_in(job.shape.grid, index);
  gridDim = extent(job.shape.grid);
  blockDim = extent(job.shape.block);
  const int64_t count = job.shape.block.count();
  threads_.resize(count);
  for (unsigned i = 0; i < count; ++i) {
    Thread& thread = threads_[i];
    thread.state = Thread::State::fresh;
    thread.index = {i % blockDim.x, i / blockDim.x % blockDim.y, i / (blockDim.x * blockDim.y)};
    thread.fiber = nullptr;
    thread.copies_of = nullptr;
    thread.copies.clear();
  }
  warps_.resize((count + 31) / 32);
  for (int64_t i = 0; i < std::ssize(warps_); ++i) {
    const int64_t lanes = std::min<int64_t>(32, count - 32 * i);
    warps_[i].lanes = static_cast<unsigned>((uint64_t{1} << lanes) - 1);
    warps_[i].ended = 0;
  }
  warpgroups_.resize((count + kWarpgroup - 1) / kWarpgroup);
  for (Warpgroup& warpgroup : warpgroups_) {
    warpgroup.arrived = warpgroup.ended = 0;
    warpgroup.products.clear();
  }
  bulk_copies_.clear();
  shared_memory_.begin_block(job.shape.shared_bytes);
  if (observer) observer->begin_block(job.shape, index);
}

/// One round: every thread that can go on does so once, unless its warp rests.
void Block::take_turns(uint64_t seed, uint64_t round) {
  bool progress = false;
  while (!turns_.done()) {
    const int number = static_cast<int>(turns_.peek());
    const Thread::State state = threads_[number].state;
    if (state != Thread::State::fresh) turns_.take();
    if (state == Thread::State::waiting || state == Thread::State::ended) continue;
    progress = true;
    if (state == Thread::State::ready && rests(job_->order, seed, round, number / 32)) continue;
    switch_to(number);
    if (fault_) std::rethrow_exception(fault_);
  }
  if (!progress) fail_stuck();
}

void Block::switch_to(int number) {
  Thread& thread = threads_[number];
  if (thread.state == Thread::State::ready) {
    running_fiber_ = thread.fiber;
    enter(number);
    running_fiber_->resume();
  } else {
    if (idle_.empty()) idle_.push_back(fibers_.emplace_back(std::make_unique<Fiber>()).get());
    running_fiber_ = idle_.back();
    idle_.pop_back();
    running_fiber_->start([](void* block) { static_cast<Block*>(block)->run_fresh_threads(); }, this);
  }
  if (running_fiber_->idle()) idle_.push_back(running_fiber_);
  running_ = -1;
}

/// From here on, number is the running thread.
void Block::enter(int number) {
  running_ = number;
  threadIdx = threads_[number].index;
}

/// On a fiber.  As long as threads end without having waited, the same fiber serves the next one: a kernel
/// without barriers costs one switch a block.
void Block::run_fresh_threads() {
  while (!turns_.done() && threads_[turns_.peek()].state == Thread::State::fresh && !fault_) {
    const int number = static_cast<int>(turns_.take());
    run_thread(number);
    if (threads_[number].fiber) return;  // it has waited: others have had their turns since
  }
}

void Block::run_thread(int number) {
  enter(number);
  try {
    job_->call(job_->arguments);
    threads_[number].copies.check_none_open();
    products().check_none_open();
  } catch (const std::exception&) {
    fault_ = std::current_exception();
  }
  threads_[number].state = Thread::State::ended;
  warps_[number / 32].ended |= 1u << number % 32;
  ++warpgroups_[number / kWarpgroup].ended;
  ++ended_;
}

void Block::abandon() {
  for (const auto& fiber : fibers_)
    if (!fiber->idle()) fiber->abandon();
  for (Warp& warp : warps_)
    for (Meeting& meeting : warp.meetings) meeting.arrived = 0;
  idle_.clear();
  for (const auto& fiber : fibers_) idle_.push_back(fiber.get());
  running_ = -1;
}

// --- waiting ----------------------------------------------------------------------------------------------

void Block::wait(const char* what, std::source_location where, unsigned mask, bool in_warpgroup) {
  Thread& thread = threads_[running_];
  thread.state = Thread::State::waiting;
  thread.what = what;
  thread.where = where;
  thread.mask = mask;
  thread.in_warpgroup = in_warpgroup;
  if (!thread.fiber) thread.fiber = running_fiber_;
  thread.fiber->suspend();
}

void Block::release(int number) {
  if (number != running_) threads_[number].state = Thread::State::ready;
}

int Block::barrier(const char* what, bool vote, std::source_location where) {
  if (at_barrier_ == 0) {
    first_at_barrier_ = running_;
  } else if (!same(threads_[first_at_barrier_].where, where)) {
    fail("comes to " + std::string(what) + " at " + text(where) + ", while " + describe(first_at_barrier_));
  }
  votes_ += vote;
  if (++at_barrier_ < std::ssize(threads_)) {
    wait(what, where, 0);
    return barrier_result_;  // stays until all threads, this one too, come to the next barrier
  }
  barrier_result_ = votes_;
  at_barrier_ = votes_ = 0;
  if (observer) observer->meet_block();
  for (int i = 0; i < std::ssize(threads_); ++i) release(i);
  return barrier_result_;
}

/// The open meeting of these lanes, or else a free one.
Block::Meeting& Block::meeting_of(unsigned mask) {
  std::vector<Meeting>& meetings = warps_[running_ / 32].meetings;
  Meeting* free = nullptr;
  for (Meeting& meeting : meetings) {
    if (meeting.arrived != 0 && meeting.mask == mask) return meeting;
    if (meeting.arrived == 0) free = &meeting;
  }
  return free ? *free : meetings.emplace_back();
}

void* const* Block::join(const char* what, unsigned mask, void* operand, std::source_location where) {
  const Warp& warp = warps_[running_ / 32];
  const auto call = [&] {
    return "calls " + std::string(what) + " at " + text(where) + " with " + text(mask);
  };
  if (!(mask >> lane() & 1)) fail(call() + ", which lacks its own lane " + std::to_string(lane()));
  if (const unsigned missing = mask & ~warp.lanes)
    fail(call() + ", but the block has no lane " + std::to_string(std::countr_zero(missing)) +
         " in this warp");
  if (const unsigned missing = mask & warp.ended)
    fail(call() + ", but lane " + std::to_string(std::countr_zero(missing)) + " has ended");
  Meeting& meeting = meeting_of(mask);
  if (meeting.arrived == 0) {
    meeting.what = what;
    meeting.mask = mask;
    std::fill_n(meeting.operands, 32, nullptr);
  } else if (!same(meeting.what, what)) {
    fail(call() + ", while " + describe(running_ / 32 * 32 + std::countr_zero(meeting.arrived)));
  }
  meeting.arrived |= 1u << lane();
  meeting.operands[lane()] = operand;
  if (meeting.arrived == mask) return meeting.operands;
  wait(what, where, mask);
  return nullptr;
}

void Block::end_meeting(unsigned mask) {
  meeting_of(mask).arrived = 0;
  for (int i = 0; i < 32; ++i)
    if (mask >> i & 1) release(running_ / 32 * 32 + i);
}

void* const* Block::join_warpgroup(const char* what, void* operand, std::source_location where) {
  const int number = running_ / kWarpgroup, first = number * kWarpgroup;
  Warpgroup& warpgroup = warpgroups_[number];
  const auto call = [&] { return "calls " + std::string(what) + " at " + text(where); };
  if (first + kWarpgroup > std::ssize(threads_))
    fail(call() + ", but its warpgroup has less than four warps");
  if (warpgroup.ended > 0) fail(call() + ", but a thread of its warpgroup has ended");
  if (warpgroup.arrived == 0) {
    warpgroup.what = what;
    warpgroup.first = running_;
  } else if (!same(warpgroup.what, what)) {
    fail(call() + ", while " + describe(warpgroup.first));
  }
  warpgroup.operands[running_ - first] = operand;
  if (++warpgroup.arrived == kWarpgroup) return warpgroup.operands;
  wait(what, where, 0, true);
  return nullptr;
}

void Block::end_warpgroup_meeting() {
  const int number = running_ / kWarpgroup;
  warpgroups_[number].arrived = 0;
  for (int i = 0; i < kWarpgroup; ++i) release(number * kWarpgroup + i);
}

void Block::wait_for(const void* barrier, std::source_location where) {
  Thread& thread = threads_[running_];
  thread.copies_of = barrier;
  wait("mbarrier.try_wait", where, 0);
  thread.copies_of = nullptr;
}

void Block::release_waiting_for(const void* barrier) {
  for (int i = 0; i < std::ssize(threads_); ++i)
    if (threads_[i].state == Thread::State::waiting && threads_[i].copies_of == barrier) release(i);
}

// --- messages ---------------------------------------------------------------------------------------------

std::string Block::thread_name(int number) const {
  return "thread " + text(threads_[number].index);
}

std::string Block::describe(int number) const {
  const Thread& thread = threads_[number];
  if (thread.state == Thread::State::ended) return thread_name(number) + " has ended";
  std::string result = thread_name(number) + " waits at " + thread.what + " at " + text(thread.where);
  if (thread.mask) result += " with " + text(thread.mask);
  return result;
}

/// Nobody can go on: names one who waits, and one who does not come.
void Block::fail_stuck() const {
  for (int i = 0; at_barrier_ > 0 && i < std::ssize(threads_); ++i) {
    if (at_barrier(threads_[i])) continue;
    fail(std::to_string(at_barrier_) + " of " + std::to_string(threads_.size()) +
         " threads wait at a barrier (" + describe(first_at_barrier_) + "), but " + describe(i));
  }
  for (int i = 0; i < std::ssize(threads_); ++i) {
    if (threads_[i].state != Thread::State::waiting) continue;
    if (threads_[i].copies_of) fail(describe(i) + ", but the barrier's bytes do not come");
    const int width = threads_[i].in_warpgroup ? kWarpgroup : 32;
    for (int j = 0; j < width; ++j) {
      const int other = i / width * width + j;
      if ((threads_[i].in_warpgroup || threads_[i].mask >> j & 1) && !waits_with(other, i))
        fail(describe(i) + ", but " + describe(other));
    }
  }
  fail("no thread can go on");
}

// --- for thread.h -----------------------------------------------------------------------------------------

int barrier(const char* what, bool vote, std::source_location where) {
  return Block::current().barrier(what, vote, where);
}

int current_lane() {
  return Block::current().lane();
}

void fail_source(const char* what, unsigned mask, int source, std::source_location where) {
  fail("calls " + std::string(what) + " at " + text(where) + " and reads lane " + std::to_string(source) +
       ", which is not in its " + text(mask));
}

namespace detail {

void* const* join(const char* what, unsigned mask, void* operand, std::source_location where) {
  return Block::current().join(what, mask, operand, where);
}

void end_meeting(unsigned mask) {
  Block::current().end_meeting(mask);
}

void* const* join_warpgroup(const char* what, void* operand, std::source_location where) {
  return Block::current().join_warpgroup(what, operand, where);
}

void end_warpgroup_meeting() {
  Block::current().end_warpgroup_meeting();
}

}  // namespace detail

}  // namespace scrawl::simt
