#include "train/interrupt.h"

#include <csignal>
#include <utility>

namespace scrawl {
namespace {

volatile std::sig_atomic_t interrupted = 0;

}  // namespace

void note_interrupts() {
  interrupted = 0;
  struct sigaction action {};
  action.sa_handler = [](int) { interrupted = 1; };
  action.sa_flags = SA_RESETHAND | SA_RESTART;
  for (const int signal : {SIGINT, SIGTERM}) sigaction(signal, &action, nullptr);
}

void stop_if_interrupted() {
  if (interrupted) throw Interrupted("interrupted");
}

ProgressCallback interruptible(ProgressCallback progress) {
  return [progress = std::move(progress)](int done, int total) {
    stop_if_interrupted();
    progress(done, total);
  };
}

}  // namespace scrawl
