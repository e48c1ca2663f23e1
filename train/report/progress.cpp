#include "train/report/progress.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>

namespace scrawl {
namespace {

constexpr int kPlainColumns = 100, kWidestBar = 30, kNarrowestBar = 8;

/// The terminal behind a standard stream, -1 when it is none.
int terminal_of(const std::ostream& out) {
  const int descriptor = &out == &std::cerr || &out == &std::clog ? STDERR_FILENO
                         : &out == &std::cout                     ? STDOUT_FILENO
                                                                  : -1;
  return descriptor >= 0 && isatty(descriptor) ? descriptor : -1;
}

int columns_of(int terminal) {
  winsize size{};
  return ioctl(terminal, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

double seconds(std::chrono::steady_clock::duration duration) {
  return std::chrono::duration<double>(duration).count();
}

}  // namespace

std::string format_duration(double duration) {
  if (!std::isfinite(duration) || duration < 0) return "-:--";
  const auto whole = static_cast<int64_t>(std::llround(std::min(duration, 3.6e9)));
  const int64_t hours = whole / 3600, minutes = whole / 60 % 60;
  return hours > 0 ? fmt::format("{}:{:02}:{:02}", hours, minutes, whole % 60)
                   : fmt::format("{}:{:02}", minutes, whole % 60);
}

std::string format_progress(const ProgressState& state, int columns) {
  const double share =
      std::clamp(static_cast<double>(state.done) / static_cast<double>(state.total), 0.0, 1.0);
  // Rounded down: 100 % means finished.
  const std::string percent = fmt::format("{:3}%", static_cast<int>(100 * share));
  const std::string times =
      state.done >= state.total
          ? fmt::format("in {}", format_duration(state.elapsed))
          : fmt::format("{} gone, {} left", format_duration(state.elapsed), format_duration(state.left));
  const int fixed = static_cast<int>(state.what.size() + 3 + 1 + percent.size() + 2 + times.size());
  const int note = state.note.empty() ? 0 : static_cast<int>(state.note.size()) + 2;
  const int bar = std::clamp(columns - fixed - note, kNarrowestBar, kWidestBar);
  const int note_room = std::clamp(columns - fixed - bar - 2, 0, static_cast<int>(state.note.size()));

  const int filled = static_cast<int>(share * bar);
  std::string line =
      fmt::format("{} [{}{}{}] {}  ", state.what, std::string(filled, '='), filled < bar ? ">" : "",
                  std::string(std::max(0, bar - filled - 1), ' '), percent);
  if (note_room > 0) line += fmt::format("{}  ", state.note.substr(0, note_room));
  return (line + times).substr(0, std::max(0, columns));
}

Progress::Progress(std::string what, int64_t total, std::ostream& out)
    : what_(std::move(what)),
      total_(std::max<int64_t>(total, 1)),
      out_(out),
      terminal_(terminal_of(out) >= 0),
      start_(Clock::now()) {}

Progress::~Progress() {
  if (line_open_) out_ << std::endl;
}

bool Progress::due(Clock::time_point now) const {
  if (shown_ < 0) return true;
  const double since = seconds(now - shown_at_);
  if (terminal_) return since >= 0.1;
  return since >= 30 || 10 * done_ / total_ > 10 * shown_ / total_;
}

void Progress::draw(Clock::time_point now) {
  const double pace = done_ > first_ ? seconds(now - first_at_) / static_cast<double>(done_ - first_) : -1;
  const ProgressState state{
      what_, done_, total_, seconds(now - start_), pace * static_cast<double>(total_ - done_), note_};
  if (terminal_) {
    // One column stays free: some terminals wrap when the last one is written.
    out_ << '\r' << format_progress(state, columns_of(terminal_of(out_)) - 1) << "\x1b[K" << std::flush;
    line_open_ = true;
  } else {
    out_ << format_progress(state, kPlainColumns) << std::endl;
  }
  shown_ = done_;
  shown_at_ = now;
}

void Progress::update(int64_t done, const std::string& note) {
  if (finished_) return;
  const auto now = Clock::now();
  done_ = done;
  note_ = note;
  if (first_ < 0) {
    first_ = done;
    first_at_ = now;
  }
  if (due(now)) draw(now);
}

void Progress::finish() {
  if (finished_) return;
  finished_ = true;
  if (terminal_ || shown_ != done_) draw(Clock::now());
  if (line_open_) out_ << std::endl;
  line_open_ = false;
}

void JobProgress::operator()(int done, int total) {
  if (!progress_) progress_.emplace(what_, total);
  progress_->update(done);
  if (done == total) progress_->finish();
}

}  // namespace scrawl
