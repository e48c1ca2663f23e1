#include "train/training_step.h"

#include <gtest/gtest.h>

#include "engine/random.h"

namespace scrawl {
namespace {

ModelConfig small_model() {
  ModelConfig config;
  config.embed_dims = {8, 16, 24, 32};
  config.depths = {1, 1, 1, 1};
  config.heads = {1, 2, 3, 4};
  config.width = 16;
  config.classes = 3;
  config.slots = 5;
  return config;
}

/// Random images; every batch shows two of the three classes, so that the bank takes a few steps to fill.
class RandomBatches : public BatchSource {
 public:
  explicit RandomBatches(Device& device)
      : image_(device, {2, 40, 36, 3}),
        label_(device, {2, 40, 36}, DType::u8),
        present_(device, {2, 3}, DType::u8) {}

  int batches_per_epoch() const override { return 1 << 20; }
  void start_epoch(int) override { number_ = 0; }
  bool next() override {
    Random random(7, number_);
    const auto other = static_cast<uint8_t>(1 + number_++ % 2);
    std::vector<float> image(image_.elements());
    for (float& value : image) value = random.normal();
    std::vector<uint8_t> label(label_.elements());
    for (uint8_t& value : label)
      value = random.chance(0.9f) ? kUnlabelled : random.chance(0.5f) ? uint8_t{0} : other;
    for (int i = 0; i < 6; ++i) tags_[i] = i % 3 == 0 || i % 3 == other;
    Device& device = image_.device();
    device.upload(image_.raw(), image.data(), image_.bytes());
    device.upload(label_.raw(), label.data(), label_.bytes());
    device.upload(present_.raw(), tags_.data(), present_.bytes());
    return true;
  }
  const std::vector<uint8_t>& tags() const override { return tags_; }
  DeviceBatch make() override { return {image_, label_, present_}; }

 private:
  Tensor image_, label_, present_;
  std::vector<uint8_t> tags_ = std::vector<uint8_t>(6);
  uint64_t number_ = 0;
};

struct Run {
  std::vector<float> losses;
  std::vector<Phase> phases;
  std::vector<float> last_weights;
};

enum class How { plain, replayed, optimiser_afterwards };

Run train(DeviceKind kind, How how, int steps) {
  Device device({.kind = kind, .threads = 2});
  Pfa model(device, small_model());
  model.initialise(published_groups(1e-3f, 0.01f), 3);
  TrainingStep step(model, 3, {0.9, 0.999}, {});
  step.use_graphs(how == How::replayed);
  Run run;
  RandomBatches batches(device);
  for (int i = 0; i < steps; ++i) {
    batches.next();
    run.phases.push_back(model.next_phase(/*use_prototypes=*/i >= 3, batches.tags()));
    const TrainingStep::When when{.step = uint64_t(i), .lr_factor = 1.0f - 0.05f * i};
    Tensor loss;
    if (how == How::optimiser_afterwards) {
      loss = step.forward_backward(batches.make(), run.phases.back(), when).total;
      step.update(run.phases.back());
    } else {
      loss = step.run(batches, run.phases.back(), when);
    }
    run.losses.push_back(loss.to_host().front());
  }
  for (const Parameter& parameter : model.parameters().all()) {
    const std::vector<float> values = parameter.value.to_host();
    run.last_weights.insert(run.last_weights.end(), values.begin(), values.end());
  }
  return run;
}

void expect_replays_change_nothing(DeviceKind kind) {
  const Run plain = train(kind, How::plain, 12), replayed = train(kind, How::replayed, 12);
  // Every phase runs long enough to be captured and replayed.
  for (const Phase phase : {Phase::without, Phase::local, Phase::global})
    EXPECT_GE(std::ranges::count(plain.phases, phase), 3) << name_of(phase);
  EXPECT_EQ(replayed.phases, plain.phases);
  EXPECT_EQ(replayed.losses, plain.losses);
  EXPECT_EQ(replayed.last_weights, plain.last_weights);
}

TEST(TrainingStep, ReplayedStepsGiveTheBitsOfStepsKernelByKernel) {
  expect_replays_change_nothing(DeviceKind::cpu);
}

#ifdef SCRAWL_SIMT
TEST(TrainingStep, ReplayedStepsGiveTheBitsOfStepsKernelByKernelOnSimt) {
  expect_replays_change_nothing(DeviceKind::simt);
}
#endif

TEST(TrainingStep, AnOptimiserBesideTheBackwardPassGivesTheBitsOfOneAfterIt) {
  const auto beside = train(DeviceKind::cpu, How::plain, 8);
  const auto afterwards = train(DeviceKind::cpu, How::optimiser_afterwards, 8);
  EXPECT_EQ(beside.losses, afterwards.losses);
  EXPECT_EQ(beside.last_weights, afterwards.last_weights);
}

/// With every block a segment of its own, bytes that are held from the system after each of three steps.
std::vector<int64_t> held_after_steps(DeviceKind kind, bool graphs) {
  Device device({.kind = kind, .threads = 1, .guard_memory = true});
  Pfa model(device, small_model());
  model.initialise(published_groups(1e-3f, 0.01f), 3);
  TrainingStep step(model, 3, {0.9, 0.999}, {});
  step.use_graphs(graphs);
  RandomBatches batches(device);
  std::vector<int64_t> held;
  for (int i = 0; i < 3; ++i) {
    batches.next();
    step.run(batches, Phase::without, {});
    held.push_back(device.memory().statistics().reserved);
  }
  return held;
}

TEST(TrainingStep, AsksTheSystemForNothingOnceItHasRun) {
  for (const DeviceKind kind : {DeviceKind::cpu, DeviceKind::simt}) {
    if (!Device::built_with(kind)) continue;
    const auto plain = held_after_steps(kind, false), replayed = held_after_steps(kind, true);
    EXPECT_EQ(plain, std::vector<int64_t>(3, plain[0])) << name_of(kind);
    EXPECT_EQ(replayed[2], replayed[1]) << name_of(kind);
  }
}

TEST(TrainingStep, BatchesOfAnotherSourceAreNotMistakenForTheCapturedOnes) {
  Device device({.threads = 1});
  Pfa model(device, small_model());
  // Steps too small to change a weight: the loss tells the batch.
  model.initialise(std::vector<GroupSettings>(kGroups, {.lr = 1e-30f}), 3);
  TrainingStep step(model, 3, {0.9, 0.999}, {});
  RandomBatches here(device), there(device);
  for (int i = 0; i < 3; ++i) {
    here.next();
    step.run(here, Phase::without, {});
  }
  here.next();
  for (int i = 0; i < 4; ++i) there.next();
  const std::vector<float> expected = step.run(here, Phase::without, {}).to_host();
  EXPECT_EQ(step.run(there, Phase::without, {}).to_host(), expected);
  here.next();
  EXPECT_NE(step.run(here, Phase::without, {}).to_host(), expected);
}

}  // namespace
}  // namespace scrawl
