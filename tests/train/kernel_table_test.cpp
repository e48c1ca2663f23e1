#include "train/bench/kernel_table.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "train/bench/library_times.h"

namespace scrawl {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

const Peaks kPeaks{.bytes_per_second = 1e12, .flops = 1e14};

constexpr double kMicro = 1e-6;

/// `us`: of one call.
KernelTimes kernel(std::string name, Cost cost, double us, std::string library = {}) {
  return {.kernel = std::move(name),
          .cost = cost,
          .calls = 2,
          .median = us * kMicro,
          .library = std::move(library)};
}

std::vector<KernelTimes> compared(std::vector<KernelTimes> kernels,
                                  const std::vector<KernelTimes>& libraries) {
  add_library_times(kernels, libraries);
  return kernels;
}

std::vector<std::string> lines_of(const std::string& text) {
  std::istringstream in(text);
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

TEST(LibraryTimes, BelongToTheKernelOfTheSameNameAndCost) {
  const auto kernels =
      compared({kernel("convolution.forward", {100, 10}, 5.0), kernel("convolution.forward", {200, 10}, 6.0),
                kernel("convolution.forward", {100, 20}, 7.0), kernel("linear.forward", {100, 10}, 8.0)},
               {kernel("linear.forward", {100, 10}, 1.0, "cuBLASLt"),
                kernel("convolution.forward", {100, 20}, 2.0, "cuDNN"),
                kernel("convolution.forward", {100, 10}, 3.0, "cuDNN")});
  EXPECT_EQ(kernels[0].library_median, 3.0 * kMicro);
  EXPECT_EQ(kernels[1].library_median, std::nullopt);
  EXPECT_EQ(kernels[2].library_median, 2.0 * kMicro);
  EXPECT_EQ(kernels[3].library_median, 1.0 * kMicro);
}

TEST(LibraryTimes, AreNotThoseOfOurKernelsOnTheOtherDevice) {
  const auto kernels =
      compared({kernel("attention.forward", {100, 10}, 5.0)}, {kernel("attention.forward", {100, 10}, 4.0)});
  EXPECT_EQ(kernels[0].library_median, std::nullopt);
}

TEST(LibraryTimes, OfALibrarysKernelAreItsOwn) {
  const auto kernels = compared({kernel("linear.forward", {100, 10}, 5.0, "cuBLASLt")},
                                {kernel("linear.forward", {100, 10}, 4.0, "cuBLASLt")});
  EXPECT_EQ(kernels[0].library_median, 5.0 * kMicro);
}

TEST(LibraryTimes, ComeFromADeviceOfTheSameKind) {
  const Device::Options options = by_libraries({.kind = DeviceKind::cuda, .synchronise_each_launch = true});
  EXPECT_EQ(options.kind, DeviceKind::cuda);
  EXPECT_TRUE(options.synchronise_each_launch);
  EXPECT_TRUE(options.cublas_only);
  EXPECT_EQ(options.cudnn, Device::cudnn_absence().empty());
}

class KernelTableTest : public ::testing::Test {
 protected:
  const std::vector<KernelTimes> kernels_ =
      compared({kernel("convolution.forward", {4'000'000, 10}, 10.0),
                kernel("linear.forward", {4'000'000, 10}, 20.0, "cuBLASLt"),
                kernel("attention.forward", {4'000'000, 10}, 30.0)},
               {kernel("convolution.forward", {4'000'000, 10}, 12.5, "cuDNN")});
};

TEST_F(KernelTableTest, ShowsTimesOfLibrariesInAColumnOfTheirOwn) {
  const auto lines = lines_of(KernelTable(kernels_, kPeaks, true).text(kernels_));
  ASSERT_EQ(lines.size(), 4u);
  const size_t end = lines[0].find("library us") + 10;
  for (const auto& line : lines) EXPECT_EQ(line.size(), lines[0].size()) << line;
  const auto cell = [&](size_t row) {
    const std::string column = lines[row].substr(end - 10, 10);
    return column.substr(column.find_last_of(' ') + 1);
  };
  EXPECT_EQ(cell(1), "12.5");
  EXPECT_EQ(cell(2), "same");
  EXPECT_EQ(cell(3), "-");
}

TEST_F(KernelTableTest, HasNoSuchColumnWhereNothingWasCompared) {
  const KernelTable table(kernels_, kPeaks, false);
  EXPECT_THAT(table.text(kernels_), AllOf(Not(HasSubstr("library")), Not(HasSubstr("12.5"))));
  EXPECT_EQ(
      lines_of(table.text(kernels_))[1],
      "convolution.forward                       2      4.00       0.0        10.0   16.7%     400.0    "
      "   0.0      40%");
  for (const auto& row : table.json(kernels_)) {
    EXPECT_FALSE(row.contains("by"));
    EXPECT_FALSE(row.contains("library_us"));
  }
}

TEST_F(KernelTableTest, SaysInJsonWhoComputedAndWhatALibraryTakes) {
  const auto rows = KernelTable(kernels_, kPeaks, true).json(kernels_);
  EXPECT_EQ(rows[0].at("by"), "own");
  EXPECT_DOUBLE_EQ(rows[0].at("library_us").get<double>(), 12.5);
  EXPECT_EQ(rows[1].at("by"), "cuBLASLt");
  EXPECT_EQ(rows[1].at("library_us"), rows[1].at("us"));
  EXPECT_EQ(rows[2].at("by"), "own");
  EXPECT_TRUE(rows[2].at("library_us").is_null());
}

TEST_F(KernelTableTest, SharesAreOfAllKernelsWhicheverAreShown) {
  const KernelTable table(kernels_, kPeaks, true);
  EXPECT_THAT(table.text({kernels_[2]}), HasSubstr(" 50.0%"));
  EXPECT_EQ(table.total(), "all kernels of a step: 0.120 ms, at the measured peaks 0.024 ms (20 %)\n");
}

}  // namespace
}  // namespace scrawl
