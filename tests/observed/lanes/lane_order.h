#pragma once
// Finds launches on different lanes of a queue that touch the same memory, one of them writing, where neither
// waits for the other.  On a GPU they would run beside each other.  Lanes wait as simt::Queue and its users
// have them wait: by vector clocks, whose actors are the three lanes.
#include <array>
#include <deque>
#include <set>
#include <string>
#include <vector>

#include "kernels/simt/observer.h"
#include "tests/observed/regions.h"

namespace scrawl::simt {

class LaneOrder final : public Observer {
 public:
  /// "relu.backward writes what linear.backward_weight aside reads, and does not wait for it", each once.
  const std::set<std::string>& conflicts() const { return conflicts_; }
  int64_t launches() const { return launches_; }

  void add_memory(const void* memory, size_t bytes) override;
  void remove_memory(const void* memory) override { regions_.remove(memory); }
  void begin_launch(std::string_view name) override;
  void end_launch() override { running_ = false; }
  void begin_aside() override;
  void begin_background() override;
  void turn_back() override;
  void join() override;
  void join_oldest_aside() override;
  void access(const void* pointer, size_t bytes, Access kind, const void* code) override;

 private:
  enum Lane { kMain, kAside, kBackground, kLanes };
  static constexpr uintptr_t kWord = 4;  // bytes that are remembered together
  using Clock = uint32_t;                // number of a launch on its lane, from 1; 0: there was none
  using Clocks = std::array<Clock, kLanes>;

  struct Word {
    uint8_t writer = kMain;
    Clock write = 0;
    Clocks reads{};
  };

  void learn(Lane lane, const Clocks& clocks);
  void check(Lane other, Clock clock, bool writes, bool wrote);

  Regions<std::vector<Word>> regions_;
  std::array<Clocks, kLanes> known_{};                  // by a lane: of itself, all that was launched
  std::array<std::vector<std::string>, kLanes> names_;  // of launches
  std::deque<Clocks> asides_;                           // ends of runs aside that were not joined
  Lane lane_ = kMain;
  bool running_ = false;  // a launch
  int64_t launches_ = 0;
  std::set<std::string> conflicts_;
};

}  // namespace scrawl::simt
