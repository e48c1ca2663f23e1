#include "train/evaluator.h"

#include "tests/train/tiny_run.h"
#include "train/run_data.h"

namespace scrawl {
namespace {

TEST(Evaluator, MemoryDoesNotGrowWithTheNumberOfImageSizes) {
  Device device;
  Pfa model(
      device,
      {.embed_dims = {8, 8, 8, 8}, .depths = {1, 1, 1, 1}, .heads = {1, 1, 1, 1}, .width = 8, .classes = 3});
  model.initialise(std::vector<GroupSettings>(kGroups), 0);
  const auto reserved_after = [&](int side) {
    predict_image(model, {side, side, std::vector<uint8_t>(size_t{3} * side * side, 100)});
    return device.memory().statistics().reserved;
  };
  const int64_t before = reserved_after(64);
  for (int side = 65; side < 96; ++side) EXPECT_EQ(reserved_after(side), before) << side;
}

/// The batches of another source, and how often one was made by kernels of its own.
class CountedBatches : public BatchSource {
 public:
  explicit CountedBatches(std::unique_ptr<BatchSource> source) : source_(std::move(source)) {}

  int batches_per_epoch() const override { return source_->batches_per_epoch(); }
  void start_epoch(int epoch) override { source_->start_epoch(epoch); }
  bool next() override { return source_->next(); }
  const std::vector<uint8_t>& tags() const override { return source_->tags(); }
  DeviceBatch make() override {
    ++made;
    return source_->make();
  }

  int made = 0;

 private:
  std::unique_ptr<BatchSource> source_;
};

/// A model that learns between evaluations.  The eight images are scored in batches of three, three and two.
class EvaluatorTest : public TinyRun {
 protected:
  struct Course {
    std::vector<Evaluation> evaluations;
    std::vector<int> made;  // batches made until then
  };

  class Learner {
   public:
    explicit Learner(DeviceKind kind) : device_({.kind = kind, .threads = 2, .guard_memory = true}) {
      model_.initialise(published_groups(1e-2f, 0.01f), 3);
    }
    ~Learner() { EXPECT_EQ(device_.memory().damage(), ""); }

    Device& device() { return device_; }
    BatchSource& batches() { return batches_; }
    Evaluator& evaluator() { return evaluator_; }

    /// Before the bank is in use, after each of two epochs that fill it, and twice the same.
    Course run(bool graphs) {
      step_.use_graphs(graphs);
      evaluator_.use_graphs(graphs);
      Course course;
      evaluate(course);
      for (int epoch = 0; epoch < 2; ++epoch) {
        train(epoch);
        evaluate(course);
      }
      evaluate(course);
      return course;
    }

   private:
    std::unique_ptr<BatchSource> source(int batch_size, bool train) {
      LoaderConfig loader = loader_config(config_, train);
      loader.batch_size = batch_size;
      return make_batch_source(device_, dataset_, loader);
    }
    void evaluate(Course& course) {
      course.evaluations.push_back(evaluator_.run());
      course.made.push_back(batches_.made);
    }
    void train(int epoch) {
      for (training_->start_epoch(epoch); training_->next(); ++steps_)
        step_.run(*training_, model_.next_phase(/*use_prototypes=*/epoch > 0, training_->tags()),
                  {.step = steps_});
    }

    Config config_ = TinyRun::config("evaluator");
    Dataset dataset_{training_data(config_)};
    Device device_;
    CountedBatches batches_{source(3, /*train=*/false)};
    std::unique_ptr<BatchSource> training_ = source(2, /*train=*/true);
    Pfa model_{device_, config_.model};
    TrainingStep step_{model_, 3, config_.betas, config_.loss};
    Evaluator evaluator_{model_, batches_};
    uint64_t steps_ = 0;
  };

  static void expect_same(const Evaluation& a, const Evaluation& b) {
    EXPECT_EQ(a.images, b.images);
    EXPECT_EQ(a.labelled_share, b.labelled_share);
    ASSERT_EQ(a.predictions.size(), b.predictions.size());
    for (size_t i = 0; i < a.predictions.size(); ++i) {
      EXPECT_EQ(a.predictions[i].title(), b.predictions[i].title());
      EXPECT_EQ(a.predictions[i].scores.iou, b.predictions[i].scores.iou) << a.predictions[i].title();
      EXPECT_EQ(a.predictions[i].scores.pixel_accuracy, b.predictions[i].scores.pixel_accuracy);
    }
  }

  static void expect_replays_change_nothing(DeviceKind kind) {
    const Course plain = Learner(kind).run(/*graphs=*/false), replayed = Learner(kind).run(/*graphs=*/true);
    EXPECT_EQ(plain.made, (std::vector<int>{3, 6, 9, 12}));
    // All three at first; then, as long as the predictions are the same ones, the smaller batch alone.
    EXPECT_EQ(replayed.made, (std::vector<int>{3, 4, 7, 8}));
    for (size_t i = 0; i < plain.evaluations.size(); ++i)
      expect_same(plain.evaluations[i], replayed.evaluations[i]);
    EXPECT_EQ(plain.evaluations[1].predictions.size(), 3);
    EXPECT_EQ(plain.evaluations[2].predictions.size(), 5);
    // The model learns, so that it matters which weights a replay sees.
    EXPECT_NE(plain.evaluations[0].plain().iou, plain.evaluations[1].plain().iou);
    EXPECT_NE(plain.evaluations[1].plain().iou, plain.evaluations[2].plain().iou);
    expect_same(plain.evaluations[2], plain.evaluations[3]);
  }
};

TEST_F(EvaluatorTest, ReplayedBatchesAreScoredAsThoseKernelByKernel) {
  expect_replays_change_nothing(DeviceKind::cpu);
}

#ifdef SCRAWL_SIMT
TEST_F(EvaluatorTest, ReplayedBatchesAreScoredAsThoseKernelByKernelOnSimt) {
  expect_replays_change_nothing(DeviceKind::simt);
}
#endif

TEST_F(EvaluatorTest, AProfilerSeesEveryBatch) {
  Learner learner(DeviceKind::cpu);
  Profiler profiler;
  learner.device().attach(&profiler);
  EXPECT_EQ(learner.run(/*graphs=*/true).made.back(), 12);
  learner.device().attach(nullptr);
}

TEST_F(EvaluatorTest, CountsImagesAndTheShareOfPixelsThatAreLabelled) {
  Learner learner(DeviceKind::cpu);
  const Evaluation evaluation = learner.evaluator().run();
  int64_t pixels = 0, labelled = 0;
  for (learner.batches().start_epoch(0); learner.batches().next();)
    for (const uint8_t label : learner.batches().make().label.to_host<uint8_t>()) {
      ++pixels;
      labelled += label != kUnlabelled;
    }
  EXPECT_EQ(evaluation.images, 8);
  EXPECT_EQ(evaluation.labelled_share, static_cast<double>(labelled) / static_cast<double>(pixels));
  EXPECT_GT(labelled, 0);
}

TEST_F(EvaluatorTest, AnAbandonedPassLeavesNothingBehind) {
  Learner learner(DeviceKind::cpu);
  const Evaluation whole = learner.evaluator().run();
  struct Abandoned {};
  EXPECT_THROW(learner.evaluator().run([](int done, int) {
    if (done == 2) throw Abandoned{};
  }),
               Abandoned);
  expect_same(learner.evaluator().run(), whole);
}

}  // namespace
}  // namespace scrawl
