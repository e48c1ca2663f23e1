#include "train/interrupt.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>

namespace scrawl {
namespace {

TEST(Interrupt, SignalsOfOneSecondAreOneRequest) {
  note_interrupts();
  EXPECT_NO_THROW(stop_if_interrupted());
  for (const int signal : {SIGINT, SIGINT, SIGTERM}) std::raise(signal);
  EXPECT_THROW(stop_if_interrupted(), Interrupted);
  int steps = 0;
  const ProgressCallback progress = interruptible([&](int, int) { ++steps; });
  EXPECT_THROW(progress(1, 2), Interrupted);
  note_interrupts();
  progress(1, 2);
  EXPECT_EQ(steps, 1);
}

TEST(InterruptDeathTest, ALaterOneEndsTheProgram) {
  const auto insist = [] {
    note_interrupts();
    std::raise(SIGINT);
    usleep(1'100'000);
    std::raise(SIGINT);
  };
  EXPECT_EXIT(insist(), testing::KilledBySignal(SIGINT), "");
}

}  // namespace
}  // namespace scrawl
