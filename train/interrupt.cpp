#include "train/interrupt.h"

#include <atomic>
#include <csignal>
#include <cstdint>
#include <ctime>
#include <utility>

namespace scrawl {
namespace {

constexpr int64_t kOneRequest = 1'000'000'000;  // nanoseconds within which signals are one

std::atomic<int64_t> interrupted_at = 0;  // 0: not at all
static_assert(std::atomic<int64_t>::is_always_lock_free, "signal handlers may use no other");

int64_t now() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1'000'000'000 + time.tv_nsec;
}

void note(int signal) {
  int64_t never = 0;
  if (interrupted_at.compare_exchange_strong(never, now())) return;
  if (now() - interrupted_at < kOneRequest) return;
  std::signal(signal, SIG_DFL);
  std::raise(signal);  // comes through when this handler returns
}

}  // namespace

void note_interrupts() {
  interrupted_at = 0;
  struct sigaction action {};
  action.sa_handler = note;
  action.sa_flags = SA_RESTART;
  for (const int signal : {SIGINT, SIGTERM}) sigaction(signal, &action, nullptr);
}

void stop_if_interrupted() {
  if (interrupted_at != 0) throw Interrupted("interrupted");
}

ProgressCallback interruptible(ProgressCallback progress) {
  return [progress = std::move(progress)](int done, int total) {
    stop_if_interrupted();
    progress(done, total);
  };
}

}  // namespace scrawl
