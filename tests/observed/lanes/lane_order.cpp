#include "tests/observed/lanes/lane_order.h"

#include <algorithm>

namespace scrawl::simt {

void LaneOrder::add_memory(const void* memory, size_t bytes) {
  regions_.add(memory, bytes, std::vector<Word>(bytes / kWord + 1));
}

void LaneOrder::begin_launch(std::string_view name) {
  running_ = true;
  ++launches_;
  ++known_[lane_][lane_];
  names_[lane_].emplace_back(name);
}

void LaneOrder::learn(Lane lane, const Clocks& clocks) {
  for (int i = 0; i < kLanes; ++i) known_[lane][i] = std::max(known_[lane][i], clocks[i]);
}

void LaneOrder::begin_aside() {
  lane_ = kAside;
  learn(kAside, known_[kMain]);
}

void LaneOrder::begin_background() {
  lane_ = kBackground;
  learn(kBackground, known_[kMain]);
  if (!asides_.empty()) learn(kBackground, asides_.back());
}

void LaneOrder::turn_back() {
  if (lane_ == kAside) asides_.push_back(known_[kAside]);
  lane_ = kMain;
}

void LaneOrder::join() {
  learn(kMain, known_[kAside]);
  learn(kMain, known_[kBackground]);
  asides_.clear();
}

void LaneOrder::join_oldest_aside() {
  learn(kMain, asides_.front());
  asides_.pop_front();
}

void LaneOrder::check(Lane other, Clock clock, bool writes, bool wrote) {
  static constexpr const char* kNames[] = {"", " aside", " in the background"};
  if (other == lane_ || known_[lane_][other] >= clock) return;
  conflicts_.insert(names_[lane_].back() + kNames[lane_] + (writes ? " writes what " : " reads what ") +
                    names_[other][clock - 1] + kNames[other] + (wrote ? " writes" : " reads") +
                    ", and does not wait for it");
}

void LaneOrder::access(const void* pointer, size_t bytes, Access kind, const void*) {
  if (!running_ || bytes == 0) return;
  const auto [words, offset] = regions_.find(pointer);
  if (!words) return;
  const bool writes = kind != Access::read;
  const Clock now = known_[lane_][lane_];
  for (size_t at = offset / kWord; at <= (offset + bytes - 1) / kWord; ++at) {
    Word& word = (*words)[at];
    check(static_cast<Lane>(word.writer), word.write, writes, true);
    if (!writes) {
      word.reads[lane_] = now;
      continue;
    }
    for (int lane = 0; lane < kLanes; ++lane) check(static_cast<Lane>(lane), word.reads[lane], true, false);
    word = {.writer = static_cast<uint8_t>(lane_), .write = now, .reads = {}};
  }
}

}  // namespace scrawl::simt
