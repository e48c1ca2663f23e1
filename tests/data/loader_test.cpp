#include "data/loader.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "data/augmentation.h"
#include "tests/data/small_set.h"

namespace scrawl {
namespace {

LoaderConfig training(int workers) {
  return {.batch_size = 2, .crop_height = 16, .crop_width = 18, .workers = workers, .train = true, .seed = 5};
}
LoaderConfig evaluation(int workers) {
  return {.batch_size = 3, .crop_height = 22, .crop_width = 40, .workers = workers, .train = false};
}

std::vector<Batch> epoch_of(Loader& loader, int epoch) {
  loader.start_epoch(epoch);
  std::vector<Batch> batches;
  for (Batch batch; loader.next(batch);) batches.push_back(std::move(batch)), batch = {};
  return batches;
}

void expect_same(const std::vector<Batch>& a, const std::vector<Batch>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(a[i].ids, b[i].ids);
    EXPECT_EQ(a[i].image, b[i].image);
    EXPECT_EQ(a[i].label, b[i].label);
    EXPECT_EQ(a[i].present, b[i].present);
  }
}

TEST(Loader, BatchesDependOnSeedAndEpochAlone) {
  const SmallSet set(7);
  const Dataset dataset(set.config());
  Loader inline_loader(dataset, training(0)), one(dataset, training(1)), three(dataset, training(3));
  const auto first = epoch_of(inline_loader, 0), second = epoch_of(inline_loader, 1);
  for (Loader* loader : {&one, &three}) {
    expect_same(epoch_of(*loader, 1), second);  // whatever was asked for before
    expect_same(epoch_of(*loader, 0), first);
    expect_same(epoch_of(*loader, 0), first);
  }
  EXPECT_NE(first[0].image, second[0].image);
  LoaderConfig other = training(0);
  other.seed = 6;
  Loader reseeded(dataset, other);
  EXPECT_NE(epoch_of(reseeded, 0)[0].image, first[0].image);
}

TEST(Loader, EveryEpochAugmentsAnew) {
  const SmallSet set(2);
  const Dataset dataset(set.config());
  LoaderConfig config = training(0);
  config.shuffle = false;
  Loader loader(dataset, config);
  const auto first = epoch_of(loader, 0), second = epoch_of(loader, 1);
  EXPECT_EQ(first[0].ids, (std::vector<std::string>{"s0", "s1"}));
  EXPECT_EQ(second[0].ids, first[0].ids);
  EXPECT_NE(second[0].image, first[0].image);
}

TEST(Loader, TrainingShowsShuffledFullBatchesOfDistinctSamples) {
  const SmallSet set(7);
  const Dataset dataset(set.config());
  Loader loader(dataset, training(2));
  EXPECT_EQ(loader.batches_per_epoch(), 3);
  std::set<std::vector<std::string>> orders;
  for (int epoch = 0; epoch < 5; ++epoch) {
    std::vector<std::string> seen;
    for (const Batch& batch : epoch_of(loader, epoch)) {
      EXPECT_EQ(batch.count, 2);
      ASSERT_EQ(batch.image.size(), 2 * 16 * 18 * 3);
      ASSERT_EQ(batch.label.size(), 2 * 16 * 18);
      ASSERT_EQ(batch.present.size(), 2 * 4);
      for (int i = 0; i < 2; ++i) {
        const int sample = batch.ids[i][1] - '0';
        EXPECT_EQ(batch.present[4 * i], 1);
        EXPECT_EQ(batch.present[4 * i + 1 + sample % 3], 1);
      }
      seen.insert(seen.end(), batch.ids.begin(), batch.ids.end());
    }
    EXPECT_EQ(seen.size(), 6);
    EXPECT_EQ(std::set<std::string>(seen.begin(), seen.end()).size(), 6);
    orders.insert(seen);
  }
  EXPECT_GT(orders.size(), 3);
}

TEST(Loader, EvaluationShowsEverySampleInOrderFromItsCentre) {
  const SmallSet set(4);
  const Dataset dataset(set.config());
  Loader loader(dataset, evaluation(2));
  const auto batches = epoch_of(loader, 0);
  ASSERT_EQ(batches.size(), 2);
  EXPECT_EQ(batches[0].ids, (std::vector<std::string>{"s0", "s1", "s2"}));
  EXPECT_EQ(batches[1].ids, std::vector<std::string>{"s3"});
  EXPECT_EQ(batches[1].count, 1);
  EXPECT_EQ(batches[1].label.size(), 22 * 40);

  // s0 is 20 x 24 of gray 40 in a crop of 22 x 40: one row above, eight columns left, its labelled corner
  // there.
  const Batch& batch = batches[0];
  for (int y = 0; y < 22; ++y) {
    for (int x = 0; x < 40; ++x) {
      const bool inside = y >= 1 && y < 21 && x >= 8 && x < 32;
      const float red = batch.image[(y * 40 + x) * 3];
      EXPECT_NEAR(red, inside ? normalised(40, 0) : 0.0f, 0.05f);
      EXPECT_EQ(batch.label[y * 40 + x], y == 1 && x == 8 ? 1 : 255);
    }
  }
}

TEST(Loader, ErrorsOfWorkersReachTheCaller) {
  const SmallSet set(6);
  write_bytes(set.root() / "JPEGImages/s3.jpg", "damaged");
  const Dataset dataset(set.config());
  for (const int workers : {0, 1, 3}) {
    LoaderConfig config = evaluation(workers);
    config.batch_size = 1;
    Loader loader(dataset, config);
    loader.start_epoch(0);
    Batch batch;
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(loader.next(batch));
    expect_input_error([&] { loader.next(batch); }, {"s3.jpg"});
    EXPECT_TRUE(loader.next(batch));  // the others are as good as ever
    EXPECT_EQ(batch.ids[0], "s4");
  }
}

TEST(Loader, MayBeLeftOrRestartedMidEpoch) {
  const SmallSet set(7);
  const Dataset dataset(set.config());
  Loader reference(dataset, training(0));
  const auto expected = epoch_of(reference, 3);
  for (int trial = 0; trial < 20; ++trial) {
    Loader loader(dataset, training(3));
    Batch batch;
    EXPECT_FALSE(loader.next(batch));  // no epoch yet
    loader.start_epoch(2);
    if (trial % 2 && !loader.next(batch)) ADD_FAILURE() << "the epoch has batches";
    if (trial % 4 < 2) expect_same(epoch_of(loader, 3), expected);
  }
}

TEST(Loader, RefusesSettingsThatGiveNoBatch) {
  const SmallSet set(3);
  const Dataset dataset(set.config());
  LoaderConfig config = training(1);
  config.batch_size = 4;
  expect_input_error([&] { Loader(dataset, config); }, {"3 images", "batch of 4", "batch_size"});
  config.batch_size = 0;
  expect_input_error([&] { Loader(dataset, config); }, {"batch_size"});
  config.batch_size = 4;
  config.train = false;
  EXPECT_EQ(Loader(dataset, config).batches_per_epoch(), 1);
}

}  // namespace
}  // namespace scrawl
