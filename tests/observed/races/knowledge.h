#pragma once
// What the threads of a block know of one another: for each other actor, up to which of its clocks what it
// did is known to have happened before (vector clocks).  A barrier of the block makes all know the same, so
// that rows of their own are kept only for those who have learnt something since.
#include <algorithm>
#include <cstdint>
#include <vector>

namespace scrawl::simt {

using Clock = uint32_t;

inline void raise_to(std::vector<Clock>& clocks, const std::vector<Clock>& others) {
  for (size_t i = 0; i < clocks.size(); ++i) clocks[i] = std::max(clocks[i], others[i]);
}

class Knowledge {
 public:
  void clear(int threads, int actors) {
    actors_ = actors;
    common_.assign(actors, 0);
    own_row_.assign(threads, false);
    rows_.resize(static_cast<size_t>(threads) * actors);
  }

  /// What a thread knows of an actor.
  Clock of(int thread, int actor) const {
    return own_row_[thread] ? rows_[static_cast<size_t>(thread) * actors_ + actor] : common_[actor];
  }
  void learn(int thread, int actor, Clock clock) {
    if (Clock& known = own_row(thread)[actor]; known < clock) known = clock;
  }
  void learn(int thread, const std::vector<Clock>& clocks) {
    Clock* row = own_row(thread);
    for (int i = 0; i < actors_; ++i) row[i] = std::max(row[i], clocks[i]);
  }
  /// All that a thread knows.
  std::vector<Clock> all(int thread) const {
    const Clock* row = own_row_[thread] ? &rows_[static_cast<size_t>(thread) * actors_] : common_.data();
    return {row, row + actors_};
  }
  /// Everyone gets to know what anyone knows, and of the first actors as much as `own` says.
  void share(const std::vector<Clock>& own = {}) {
    for (size_t thread = 0; thread < own_row_.size(); ++thread) {
      if (!own_row_[thread]) continue;
      const Clock* row = &rows_[thread * actors_];
      for (int i = 0; i < actors_; ++i) common_[i] = std::max(common_[i], row[i]);
      own_row_[thread] = false;
    }
    std::copy(own.begin(), own.end(), common_.begin());
  }

 private:
  Clock* own_row(int thread) {
    Clock* row = &rows_[static_cast<size_t>(thread) * actors_];
    if (!own_row_[thread]) std::copy(common_.begin(), common_.end(), row);
    own_row_[thread] = true;
    return row;
  }

  int actors_ = 0;
  std::vector<Clock> common_;
  std::vector<bool> own_row_;
  std::vector<Clock> rows_;
};

}  // namespace scrawl::simt
