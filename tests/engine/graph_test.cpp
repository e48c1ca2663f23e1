#include <gtest/gtest.h>

#include "engine/ops.h"
#include "kernels/cast.h"

namespace scrawl {
namespace {

std::vector<DeviceKind> host_devices() {
#ifdef SCRAWL_SIMT
  return {DeviceKind::cpu, DeviceKind::simt};
#else
  return {DeviceKind::cpu};
#endif
}

class GraphTest : public testing::TestWithParam<DeviceKind> {
 protected:
  ~GraphTest() override { EXPECT_EQ(device_.memory().damage(), ""); }
  static void add(const Tensor& x, const Tensor& y) {
    x.device().run(Cast{.x = x.raw(), .y = y.raw(), .elements = x.elements(), .accumulate = true});
  }
  Device device_{{.kind = GetParam(), .threads = 1, .guard_memory = true}};
};

TEST_P(GraphTest, RunsNothingUntilItIsReplayedAndThenReadsWhatIsThere) {
  const Tensor x = Tensor::from(device_, {3}, std::vector<float>{1, 2, 3}), y = Tensor::zeros(device_, {3});
  const Graph graph = device_.capture([&] { add(x, y); });
  EXPECT_EQ(y.to_host(), (std::vector<float>{0, 0, 0}));
  graph.replay();
  EXPECT_EQ(y.to_host(), (std::vector<float>{1, 2, 3}));
  const std::vector<float> other{10, 20, 30};
  device_.upload(x.raw(), other.data(), x.bytes());
  graph.replay();
  graph.replay();
  EXPECT_EQ(y.to_host(), (std::vector<float>{21, 42, 63}));
}

TEST_P(GraphTest, KeepsItsMemoryFromEverybodyElse) {
  const Tensor x = Tensor::from(device_, {64}, std::vector<float>(64, 1.0f));
  Tensor y = Tensor::zeros(device_, {64});
  const Graph graph = device_.capture([&] {
    const Tensor between = Tensor::zeros(device_, {64});  // released before the replay
    add(x, between);
    add(x, between);
    add(between, y);
  });
  std::vector<Tensor> others;
  for (int i = 0; i < 8; ++i) others.push_back(Tensor::from(device_, {64}, std::vector<float>(64, 7.0f)));
  graph.replay();
  EXPECT_EQ(y.to_host(), std::vector<float>(64, 2.0f));
  for (const Tensor& other : others) EXPECT_EQ(other.to_host(), std::vector<float>(64, 7.0f));
}

TEST_P(GraphTest, ReusesItsOwnMemoryInOrderAndCountsItAsInUse) {
  const Tensor x = Tensor::from(device_, {64}, std::vector<float>(64, 1.0f)),
               y = Tensor::zeros(device_, {64});
  const int64_t before = device_.memory().statistics().in_use;
  const auto body = [&] {
    for (int i = 0; i < 5; ++i) {
      const Tensor between = Tensor::zeros(device_, {64});
      add(x, between);
      add(between, y);
    }
  };
  const Graph first = device_.capture(body), second = device_.capture(body);
  EXPECT_EQ(device_.memory().statistics().in_use, before + 256);
  device_.memory().trim();
  first.replay();
  second.replay();
  EXPECT_EQ(y.to_host(), std::vector<float>(64, 10.0f));
}

TEST_P(GraphTest, ItsMemoryServesOthersOnceNoGraphIsLeft) {
  const Tensor x = Tensor::from(device_, {64}, std::vector<float>(64, 1.0f)),
               y = Tensor::zeros(device_, {64});
  const Allocator::Statistics& memory = device_.memory().statistics();
  const int64_t before = memory.in_use, reserved = memory.reserved;
  Tensor kept;
  const auto body = [&] {
    const Tensor between = Tensor::zeros(device_, {1000});
    kept = Tensor::zeros(device_, {64});
    add(x, kept);
  };
  Graph first = device_.capture(body), second = device_.capture(body);
  first = {};
  EXPECT_EQ(memory.in_use, before + 4096 + 2 * 256);
  second.replay();
  second = {};
  EXPECT_EQ(memory.in_use, before + 256) << "what is still held";
  EXPECT_EQ(kept.to_host(), std::vector<float>(64, 1.0f));
  kept = {};
  device_.memory().trim();
  EXPECT_EQ(memory.reserved, reserved);
  EXPECT_EQ(memory.in_use, before);
}

TEST_P(GraphTest, AnAbandonedCaptureKeepsNothing) {
  const int64_t before = device_.memory().statistics().in_use;
  struct Abandoned {};
  EXPECT_THROW(device_.capture([&] {
    const Tensor between(device_, {64});
    throw Abandoned{};
  }),
               Abandoned);
  EXPECT_EQ(device_.memory().statistics().in_use, before);
}

TEST_P(GraphTest, AnAbandonedCaptureKeepsNothingThatWentAside) {
  const Tensor x = Tensor::zeros(device_, {64});
  const int64_t before = device_.memory().statistics().in_use;
  struct Abandoned {};
  EXPECT_THROW(device_.capture([&] {
    device_.aside([x, y = Tensor(device_, {64})] { add(x, y); });
    throw Abandoned{};
  }),
               Abandoned);
  EXPECT_EQ(device_.memory().statistics().in_use, before);
}

TEST_P(GraphTest, RefusesWhatWouldHappenOnlyOnce) {
  const Tensor x = Tensor::zeros(device_, {3});
  EXPECT_THROW(device_.capture([&] { x.to_host(); }), std::invalid_argument);
  EXPECT_THROW(device_.capture([&] { Tensor::from(device_, {1}, std::vector<float>{1}); }),
               std::invalid_argument);
  EXPECT_THROW(device_.capture([&] { device_.capture([] {}); }), std::invalid_argument);
  EXPECT_FALSE(device_.capturing());
  EXPECT_EQ(x.to_host(), (std::vector<float>{0, 0, 0}));
  EXPECT_THROW(Graph().replay(), std::invalid_argument);
}

INSTANTIATE_TEST_SUITE_P(Devices, GraphTest, testing::ValuesIn(host_devices()),
                         [](const auto& device) { return std::string(name_of(device.param)); });

}  // namespace
}  // namespace scrawl
