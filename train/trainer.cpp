#include "train/trainer.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>

#include "data/dataset_check.h"
#include "engine/error.h"
#include "engine/files.h"
#include "train/interrupt.h"
#include "train/report/log.h"
#include "train/report/progress.h"
#include "train/run_data.h"
#include "train/schedule.h"
#include "train/weights/load.h"

namespace scrawl {
namespace {

/// On a GPU, where waiting for each would leave it idle.
constexpr int kStepsBetweenLosses = 20;

using Clock = std::chrono::steady_clock;

nlohmann::json to_json(const EpochSummary& summary, const Config& config) {
  nlohmann::json line{
      {"epoch", summary.epoch},        {"phase", name_of(summary.phase)},
      {"loss", summary.loss},          {"learning_rate", config.learning_rate * summary.lr_factor},
      {"seconds", summary.seconds},    {"images_per_second", summary.images_per_second},
      {"bank_fill", summary.bank_fill}};
  if (summary.evaluation)
    for (const Prediction& prediction : summary.evaluation->predictions)
      line["miou"][prediction.title()] = prediction.scores.miou;
  return line;
}

}  // namespace

Trainer::Trainer(Device& device, const Config& config)
    : device_(device),
      config_(config),
      directory_{config.run_dir()},
      train_set_(training_data(config)),
      val_set_(validation_data(config)),
      classes_(classes_of(config.data_root, config.model.classes)),
      train_batches_(make_batch_source(device, train_set_, loader_config(config, true))),
      val_batches_(make_batch_source(device, val_set_, loader_config(config, false))),
      model_(device, config.model),
      step_(model_, config.seed, config.betas, config.loss),
      evaluator_(model_, *val_batches_),
      losses_(device, 4 * kStepsBetweenLosses) {
  require_labels(train_set_);
  model_.initialise(
      published_groups(static_cast<float>(config.learning_rate), static_cast<float>(config.weight_decay)),
      config.seed, /*differentiate_frozen=*/false, config.precision);
}

double Trainer::images_per_second() const {
  const auto images = static_cast<double>(state_.step * config_.batch_size);
  return state_.seconds > 0.0 ? images / state_.seconds : 0.0;
}

void Trainer::run(Start start, const std::function<void(const EpochSummary&)>& on_epoch) {
  start_run(start);
  for (const std::string& key : config_.ignored) log("ignored: {}", key);
  log("training on {} images, validating on {}; image-level tags from {}", train_set_.size(), val_set_.size(),
      train_set_.tags_from_file() ? "cls_labels.npy" : "the labels (there is no cls_labels.npy)");
  for (const std::string& warning : list_warnings(train_set_.ids(), val_set_.ids()))
    log("warning: {}", warning);
  log("model: {:.1f} M parameters; device: {}", static_cast<double>(model_.parameters().count()) / 1e6,
      device_.describe());

  note_interrupts();
  try {
    train_and_validate(on_epoch);
  } catch (const Interrupted&) {
    if (saved_epochs_ == 0)
      throw Interrupted("interrupted before the first epoch was through; nothing was written");
    throw Interrupted(fmt::format("interrupted; --resume goes on after epoch {}", saved_epochs_));
  }
}

void Trainer::train_and_validate(const std::function<void(const EpochSummary&)>& on_epoch) {
  for (bool first = true; state_.next_epoch < config_.epochs; first = false) {
    const int epoch = state_.next_epoch;
    EpochSummary summary = train_epoch(epoch);
    if (first) warn_about_labels(train_set_, classes_.names, "training");
    state_.next_epoch = epoch + 1;
    if ((epoch + 1) % config_.val_every == 0 || epoch + 1 == config_.epochs)
      summary.evaluation = last_evaluation_ = validate(epoch);
    if (first) begin_writing();
    if (summary.evaluation) keep_best(*summary.evaluation);
    append_history(summary);
    save_last();
    if (on_epoch) on_epoch(summary);
  }
}

void Trainer::start_run(Start start) {
  const bool there = std::filesystem::exists(directory_.last());
  if (there && start == Start::refuse)
    throw InputError("{} holds a run already: --resume continues it, --fresh starts over",
                     directory_.path.string());
  if (start == Start::resume) {
    if (!there) throw InputError("{}: nothing to resume from", directory_.last().string());
    lock();
    return resume();
  }
  if (config_.pretrained)
    load_pretrained_encoder(model_, find_pretrained(config_.pretrained_path, config_.backbone));
  lock();
  replaces_ = true;
}

void Trainer::lock() {
  lock_.emplace(directory_.path);
  for (const auto& file : directory_.files()) remove_temporaries(file);
}

void Trainer::begin_writing() {
  if (replaces_)
    for (const auto& file : directory_.files()) std::filesystem::remove(file);
  write_file_atomically(directory_.config(), [&](std::ostream& out) { out << describe(config_); });
}

void Trainer::resume() {
  const Checkpoint checkpoint(directory_.last());
  checkpoint.load(model_);
  checkpoint.load_optimizer(model_);
  state_ = checkpoint.info().state;
  saved_epochs_ = state_.next_epoch;
  cut_history();  // of an epoch that ended just before the run did, without a checkpoint
  log("resuming after {} epochs", state_.next_epoch);
  if (state_.next_epoch >= config_.epochs) {
    log("all {} epochs are done; raise train.epoch to go on", config_.epochs);
    last_evaluation_ = validate(state_.next_epoch - 1);
  }
}

EpochSummary Trainer::train_epoch(int epoch) {
  EpochSummary summary{.epoch = epoch, .lr_factor = lr_factor(config_.lr_policy, epoch, config_.epochs)};
  const bool use_prototypes = epoch >= config_.prototype_epoch;
  const int steps = train_batches_->batches_per_epoch();
  Progress progress(fmt::format("epoch {}/{}", epoch + 1, config_.epochs), steps);
  const uint64_t first_step = state_.step;
  const auto note_losses = [&](const std::vector<float>& losses) {
    for (const float loss : losses) {
      if (!std::isfinite(loss))
        throw std::runtime_error(fmt::format(
            "training diverged: the loss is {} at step {}; a lower optimizer.learning_rate may help", loss,
            first_step + summary.losses.size()));
      summary.losses.push_back(loss);
    }
  };
  const auto begin = Clock::now();
  train_batches_->start_epoch(epoch);
  for (int done = 1; train_batches_->next(); ++done, ++state_.step) {
    summary.phase = model_.next_phase(use_prototypes, train_batches_->tags());
    device_.enter(name_of(summary.phase));
    losses_.push(step_.run(*train_batches_, summary.phase,
                           {.step = static_cast<uint64_t>(state_.step), .lr_factor = summary.lr_factor}));
    if (std::ranges::find(state_.phases, summary.phase) == state_.phases.end())
      state_.phases.push_back(summary.phase);

    if (done % kStepsBetweenLosses == 0 || device_.kind() != DeviceKind::cuda) note_losses(losses_.arrived());
    stop_if_interrupted();
    const std::chrono::duration<double> elapsed = Clock::now() - begin;
    std::string pace;  // of steps that are through: a GPU is behind those that were launched
    if (!summary.losses.empty())
      pace = fmt::format(" loss {:.4f} {:.1f} images/s", summary.losses.back(),
                         static_cast<double>(summary.losses.size()) * config_.batch_size / elapsed.count());
    progress.update(done, std::string(name_of(summary.phase)) + pace);
  }
  note_losses(losses_.rest());
  progress.finish();

  summary.seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  summary.loss = std::accumulate(summary.losses.begin(), summary.losses.end(), 0.0) / steps;
  summary.images_per_second = steps * config_.batch_size / summary.seconds;
  summary.bank_fill = model_.bank().fill();
  state_.seconds += summary.seconds;
  if (summary.phase == Phase::local && !warned_) warn_about_empty_classes();
  return summary;
}

void Trainer::warn_about_empty_classes() {
  warned_ = true;
  const std::vector<int32_t> filled = model_.bank().filled().to_host<int32_t>();
  std::vector<std::string> empty;
  for (size_t k = 0; k < filled.size(); ++k)
    if (filled[k] == 0) empty.push_back(classes_.names[k]);
  if (!empty.empty())
    log("warning: no training image of the last epoch shows {}; the global phase starts only when every "
        "class has "
        "filled its {} prototypes",
        fmt::join(empty, ", "), config_.model.slots);
}

Evaluation Trainer::validate(int epoch) {
  Progress progress(fmt::format("validating {}/{}", epoch + 1, config_.epochs),
                    val_batches_->batches_per_epoch());
  device_.enter("validation");
  Evaluation evaluation = evaluator_.run([&](int done, int) {
    stop_if_interrupted();
    progress.update(done, "");
  });
  progress.finish();
  if (!last_evaluation_) {
    warn_about_scribbles(evaluation, config_);
    warn_about_labels(val_set_, classes_.names, "validation");
  }
  return evaluation;
}

void Trainer::keep_best(const Evaluation& evaluation) {
  std::vector<std::string> improved;
  for (const char* name : {"without", "local", "global"}) {
    // As published: local and global are judged with the true tags.
    const Prediction* prediction = evaluation.find(name, std::string_view(name) == "without");
    if (!prediction) continue;
    const auto best = state_.best.find(name);
    if (best != state_.best.end() && prediction->scores.miou <= best->second) continue;
    state_.best[name] = prediction->scores.miou;
    improved.push_back(name);
  }
  for (const std::string& name : improved)
    save_checkpoint(directory_.best(name), model_, info(), /*resumable=*/false);
}

void Trainer::save_last() {
  save_checkpoint(directory_.last(), model_, info(), /*resumable=*/true);
  saved_epochs_ = state_.next_epoch;
}

void Trainer::append_history(const EpochSummary& summary) const {
  std::ofstream out(directory_.history(), std::ios::app);
  out << to_json(summary, config_).dump() << '\n';
  out.close();
  if (!out)
    throw std::runtime_error(fmt::format("{}: writing failed (disk full?)", directory_.history().string()));
}

void Trainer::cut_history() const {
  if (!std::filesystem::exists(directory_.history())) return;
  const std::vector<std::string> lines = read_lines(directory_.history());
  write_file_atomically(directory_.history(), [&](std::ostream& out) {
    for (const std::string& line : lines) {
      const auto json = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
      if (json.is_object() && json.value("epoch", state_.next_epoch) < state_.next_epoch) out << line << '\n';
    }
  });
}

}  // namespace scrawl
