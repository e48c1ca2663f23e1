#include "train/batch_source.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/data/small_set.h"
#include "tests/train/tiny_run.h"
#include "train/run_data.h"

namespace scrawl {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kPlenty = int64_t{1} << 40;

TEST(SampleHome, SamplesTakeAtMostHalfOfWhatIsFree) {
  EXPECT_EQ(choose_home(100, {.device = 200, .host = 0}), SampleHome::device);
  EXPECT_EQ(choose_home(101, {.device = 200, .host = 202}), SampleHome::pinned);
  EXPECT_EQ(choose_home(101, {.device = 200, .host = 201}), SampleHome::files);
}

TEST(FreeMemory, OfTheProcessorIsPlausible) {
  Device device;
  const FreeMemory free = free_memory(device);
  EXPECT_GT(free.host, int64_t{1} << 20);
  EXPECT_LT(free.host, kPlenty);
}

#ifdef SCRAWL_SIMT

/// What a batch holds, on the host.
struct Contents {
  std::vector<float> image;
  std::vector<uint8_t> label, present, tags;
  bool operator==(const Contents&) const = default;
};

std::vector<Contents> rest_of_epoch(BatchSource& source) {
  std::vector<Contents> batches;
  while (source.next()) {
    const DeviceBatch batch = source.make();
    batches.push_back({batch.image.to_host(), batch.label.to_host<uint8_t>(),
                       batch.present.to_host<uint8_t>(), source.tags()});
  }
  return batches;
}
std::vector<Contents> epoch_of(BatchSource& source, int epoch) {
  source.start_epoch(epoch);
  return rest_of_epoch(source);
}

/// A source on simt, and what it logged when it was made.
struct Made {
  std::unique_ptr<BatchSource> source;
  std::string logged;
};
Made make(Device& device, const Dataset& dataset, const LoaderConfig& config, const FreeMemory& free) {
  testing::internal::CaptureStderr();
  Made made{make_batch_source(device, dataset, config, free), ""};
  made.logged = testing::internal::GetCapturedStderr();
  return made;
}

Device::Options guarded_simt() {
  return {.kind = DeviceKind::simt, .threads = 2, .guard_memory = true};
}

constexpr FreeMemory kHomes[] = {{.device = kPlenty, .host = 0}, {.device = 0, .host = kPlenty}, {}};

TEST(BatchSource, WhereverSamplesStayBatchesAreThoseOfTheLoader) {
  const SmallSet set(7);
  const Dataset dataset(set.config());
  for (const bool train : {true, false}) {
    const LoaderConfig config{
        .batch_size = 3, .crop_height = 22, .crop_width = 40, .workers = 1, .train = train, .seed = 5};
    Device cpu({.threads = 1}), simt(guarded_simt());
    const auto loader = make_batch_source(cpu, dataset, config);
    const std::vector<Contents> first = epoch_of(*loader, 0), second = epoch_of(*loader, 1);
    ASSERT_EQ(first.size(), train ? 2 : 3);
    EXPECT_EQ(first.back().label.size(), (train ? 3 : 1) * 22 * 40);
    EXPECT_EQ(first == second, !train);
    for (const FreeMemory& free : kHomes) {
      const auto source = make(simt, dataset, config, free).source;
      EXPECT_EQ(source->batches_per_epoch(), loader->batches_per_epoch());
      EXPECT_FALSE(source->next());  // no epoch yet
      EXPECT_TRUE(epoch_of(*source, 1) == second);
      EXPECT_TRUE(epoch_of(*source, 0) == first);
      source->start_epoch(0);
      ASSERT_TRUE(source->next());
      EXPECT_TRUE(epoch_of(*source, 1) == second);  // an epoch was abandoned meanwhile
      EXPECT_FALSE(source->next());
    }
    EXPECT_EQ(simt.memory().damage(), "");
  }
}

TEST(BatchSource, AValidationMayBeSmallerThanABatch) {
  const SmallSet set(2);
  const Dataset dataset(set.config());
  Device simt(guarded_simt());
  for (const FreeMemory& free : kHomes) {
    const auto source =
        make(simt, dataset, {.batch_size = 5, .crop_height = 8, .crop_width = 8, .train = false}, free)
            .source;
    const std::vector<Contents> batches = epoch_of(*source, 0);
    ASSERT_EQ(batches.size(), 1);
    EXPECT_EQ(batches[0].label.size(), 2 * 8 * 8);
    EXPECT_EQ(batches[0].tags.size(), 2 * 4);
  }
  EXPECT_EQ(simt.memory().damage(), "");
}

TEST(BatchSource, SaysWhereSamplesStay) {
  const SmallSet set(2);
  const Dataset dataset(set.config());
  Device simt(guarded_simt());
  const LoaderConfig config{.batch_size = 2, .crop_height = 8, .crop_width = 8, .workers = 0};
  const char* words[] = {"stay in the memory of simt", "stay in pinned host memory",
                         "decoded again in every epoch"};
  for (int i = 0; i < 3; ++i) {
    const std::string logged = make(simt, dataset, config, kHomes[i]).logged;
    EXPECT_THAT(logged, HasSubstr(words[i]));
    EXPECT_EQ(std::ranges::count(logged, '\n'), 1) << logged;
  }
}

TEST(BatchSource, NamesTheFirstFileThatCannotBeUsed) {
  const SmallSet set(9);
  const auto photo = [&](int i) { return set.root() / "JPEGImages" / fmt::format("s{}.jpg", i); };
  for (const int i : {3, 6, 7})
    std::filesystem::resize_file(photo(i), std::filesystem::file_size(photo(i)) - 4);
  const Dataset dataset(set.config());
  Device simt(guarded_simt());
  const LoaderConfig config{.batch_size = 2, .crop_height = 8, .crop_width = 8};
  for (const FreeMemory& free : {kHomes[0], kHomes[1]}) {
    const auto source = make(simt, dataset, config, free).source;  // headers are whole
    testing::internal::CaptureStderr();                            // progress
    expect_input_error([&] { source->start_epoch(0); }, {"s3.jpg", "cut short"});
    testing::internal::GetCapturedStderr();
  }
  write_bytes(photo(5), "damaged");
  expect_input_error([&] { make_batch_source(simt, dataset, config, kHomes[0]); }, {"s5.jpg"});
}

class BatchSourceTraining : public TinyRun {
 protected:
  /// Losses of two epochs, the second with prototypes.
  static std::vector<float> losses_from(const FreeMemory& free) {
    const Config config = TinyRun::config("sources");
    Device simt({.kind = DeviceKind::simt, .threads = 2});
    const Dataset dataset(training_data(config));
    const auto source = make(simt, dataset, loader_config(config, true), free).source;
    Pfa model(simt, config.model);
    model.initialise(published_groups(1e-3f, 0.01f), config.seed);
    TrainingStep step(model, config.seed, config.betas, config.loss);
    std::vector<float> losses;
    for (int epoch = 0; epoch < 2; ++epoch)
      for (source->start_epoch(epoch); source->next();) {
        const Phase phase = model.next_phase(epoch > 0, source->tags());
        losses.push_back(step.run(*source, phase, {.step = losses.size()}).to_host().front());
      }
    return losses;
  }
};

TEST_F(BatchSourceTraining, LearnsTheSameFromEverySource) {
  const std::vector<float> loaded = losses_from(kHomes[2]);
  EXPECT_EQ(loaded.size(), 4);
  EXPECT_EQ(losses_from(kHomes[0]), loaded);
  EXPECT_EQ(losses_from(kHomes[1]), loaded);
}

#endif

}  // namespace
}  // namespace scrawl
