#include "kernels/host_memory.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>

namespace scrawl {
namespace {

constexpr int64_t kLargePage = int64_t{2} << 20;

struct Free {
  void operator()(void* memory) const { std::free(memory); }
};

TEST(HostMemory, IsAlignedAndUsableWhateverItsSize) {
  for (const int64_t bytes : {int64_t{1}, int64_t{257}, kLargePage - 1, kLargePage, 3 * kLargePage + 5}) {
    const std::unique_ptr<void, Free> memory(allocate_host_memory(bytes));
    ASSERT_NE(memory, nullptr) << bytes;
    const auto address = reinterpret_cast<uintptr_t>(memory.get());
    EXPECT_EQ(address % (bytes >= kLargePage ? kLargePage : 256), 0) << bytes;
    std::memset(memory.get(), 1, bytes);
  }
}

TEST(HostMemory, SaysWhenThereIsNoMore) {
  EXPECT_EQ(allocate_host_memory(std::numeric_limits<int64_t>::max() / 2), nullptr);
}

}  // namespace
}  // namespace scrawl
