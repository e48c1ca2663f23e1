#pragma once
#include <stdexcept>

#include "data/for_each_index.h"

namespace scrawl {

/// Thrown where work stops because the user, or a scheduler, asked for it.
struct Interrupted : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// From here on Ctrl-C (SIGINT) and SIGTERM are only noted, so that no file is left half-written; a later one
/// ends the program at once.  Within a second all count as one: timeout and schedulers of jobs signal a
/// program and then its process group, which is the program again.
void note_interrupts();

/// Throws Interrupted if a signal was noted.
void stop_if_interrupted();

/// `progress`, which ends the job once a signal was noted.
ProgressCallback interruptible(ProgressCallback progress);

}  // namespace scrawl
