#pragma once
#include <chrono>
#include <cstdint>
#include <iostream>
#include <optional>
#include <string>
#include <string_view>

namespace scrawl {

/// 0:07, 12:30, 1:02:03; "-:--" for what is not known (negative or not finite).
std::string format_duration(double seconds);

/// How far a job has come.
struct ProgressState {
  std::string_view what;
  int64_t done, total;
  double elapsed;         // seconds
  double left;            // seconds; negative = not known
  std::string_view note;  // loss, images/s
};

/// One line of at most `columns` bytes: what, bar, percent, note, time gone and left.  The bar shrinks first,
/// then the note is cut.
std::string format_progress(const ProgressState& state, int columns);

/// Shows a job's progress.  On a terminal one line that redraws itself, at most ten times a second; anywhere
/// else (a file, a pipe) a plain line about every tenth of the job or every 30 seconds.
class Progress {
 public:
  /// `total` > 0 is the number of steps.
  Progress(std::string what, int64_t total, std::ostream& out = std::cerr);
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  /// Ends the line if the job did not, so that an error message starts on its own.
  ~Progress();

  void update(int64_t done, const std::string& note = "");
  /// Shows the last update whatever the time, and ends the line; further calls do nothing.
  void finish();

 private:
  using Clock = std::chrono::steady_clock;

  void draw(Clock::time_point now);
  bool due(Clock::time_point now) const;

  std::string what_, note_;
  int64_t total_, done_ = 0;
  std::ostream& out_;
  bool terminal_;
  bool line_open_ = false, finished_ = false;
  Clock::time_point start_, shown_at_{};
  int64_t shown_ = -1;            // `done` of the last line, -1 = none yet
  int64_t first_ = -1;            // the first update and its time: speed is measured from there, since the
  Clock::time_point first_at_{};  // first step sets things up and a resumed job starts in the middle
};

/// Shows a job whose number of steps its first update tells, until the last.
class JobProgress {
 public:
  explicit JobProgress(std::string what) : what_(std::move(what)) {}
  void operator()(int done, int total);

 private:
  std::string what_;
  std::optional<Progress> progress_;
};

}  // namespace scrawl
