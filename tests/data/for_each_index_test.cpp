#include "data/for_each_index.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace scrawl {
namespace {

TEST(ForEachIndex, VisitsEachOnceAndReportsEach) {
  std::vector<std::atomic<int>> visits(100);
  std::vector<int> reported;
  for_each_index(
      100, [&](int i) { ++visits[i]; },
      [&](int done, int total) {
        EXPECT_EQ(total, 100);
        reported.push_back(done);
      },
      3);
  for (const auto& count : visits) EXPECT_EQ(count, 1);
  ASSERT_EQ(reported.size(), 100);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(reported[i], i + 1);
}

TEST(ForEachIndex, ThrowsTheErrorOfTheLowestIndexWhoeverFailsFirst) {
  std::atomic<bool> other_failed = false;
  const auto work = [&](int i) {
    if (i == 0) {
      while (!other_failed) std::this_thread::yield();
      std::this_thread::sleep_for(std::chrono::milliseconds(10));  // the other's error arrives first
    }
    other_failed = true;
    throw std::runtime_error(std::to_string(i));
  };
  try {
    for_each_index(1000, work, {}, 2);
    ADD_FAILURE() << "expected an error";
  } catch (const std::runtime_error& error) {
    EXPECT_STREQ(error.what(), "0");
  }
}

}  // namespace
}  // namespace scrawl
