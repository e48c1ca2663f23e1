#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/readback.h"
#include "train/batch_source.h"
#include "train/checkpoint.h"
#include "train/config/config.h"
#include "train/evaluator.h"
#include "train/folder_lock.h"
#include "train/run_directory.h"
#include "train/training_step.h"

namespace scrawl {

/// Means over the steps of one epoch, and what it took.
struct EpochSummary {
  int epoch = 0;
  Phase phase = Phase::without;  // of its last step
  std::vector<float> losses;     // of every step, in order
  double loss = 0.0;             // their mean
  float lr_factor = 1.0f;
  double seconds = 0.0;
  double images_per_second = 0.0;
  double bank_fill = 0.0;
  std::optional<Evaluation> evaluation;
};

/// Trains a model as a configuration says: epochs of steps, validation, checkpoints.
class Trainer {
 public:
  /// What to do with a run that is there already.
  enum class Start { refuse, resume, fresh };

  /// Opens data and model; nothing is written yet.  InputError for whatever cannot be trained with.
  Trainer(Device& device, const Config& config);

  /// Trains to the last epoch.  Writes checkpoints, history and configuration into config.run_dir(), and what
  /// an earlier run left there stays until the first epoch is through, with its validation.  `on_epoch` is
  /// called after every epoch. Throws Interrupted between two steps when the user asks for it.
  void run(Start start, const std::function<void(const EpochSummary&)>& on_epoch = {});

  Pfa& model() { return model_; }
  const TrainingState& state() const { return state_; }
  const Dataset& training_set() const { return train_set_; }
  const Dataset& validation_set() const { return val_set_; }
  const ClassList& classes() const { return classes_; }
  const std::optional<Evaluation>& last_evaluation() const { return last_evaluation_; }
  /// Over the whole of the run, before and after resuming.
  double images_per_second() const;
  const RunDirectory& directory() const { return directory_; }

 private:
  void start_run(Start start);
  void lock();
  void begin_writing();
  void train_and_validate(const std::function<void(const EpochSummary&)>& on_epoch);
  void resume();
  EpochSummary train_epoch(int epoch);
  Evaluation validate(int epoch);
  void keep_best(const Evaluation& evaluation);
  void save_last();
  void append_history(const EpochSummary& summary) const;
  void cut_history() const;  // to the epochs that state_ knows of
  void warn_about_empty_classes();
  CheckpointInfo info() const { return {model_.config(), classes_, state_}; }

  Device& device_;
  Config config_;
  RunDirectory directory_;
  std::optional<FolderLock> lock_;  // from run() on
  Dataset train_set_, val_set_;
  ClassList classes_;
  std::unique_ptr<BatchSource> train_batches_, val_batches_;
  Pfa model_;
  TrainingStep step_;
  Evaluator evaluator_;
  Readback losses_;
  TrainingState state_;
  std::optional<Evaluation> last_evaluation_;
  int saved_epochs_ = 0;  // that last.safetensors holds
  bool warned_ = false;
  bool replaces_ = false;  // what an earlier run left, once there is something to put in its place
};

}  // namespace scrawl
