#include "train/evaluator.h"

#include <algorithm>

#include "data/augmentation.h"
#include "engine/ops.h"
#include "kernels/partial_cross_entropy.h"
#include "train/training_step.h"

namespace scrawl {
namespace {

/// Tags of what a prediction shows: label-free, since they come from the network itself.
Tensor tags_of(const Tensor& prediction, int classes) {
  const int64_t images = prediction.dim(0), pixels = prediction.elements() / std::max<int64_t>(1, images);
  const std::vector<uint8_t> labels = prediction.to_host<uint8_t>();
  std::vector<uint8_t> tags(images * classes, 0);
  for (int64_t i = 0; i < images; ++i) {
    tags[i * classes] = 1;
    for (int64_t j = 0; j < pixels; ++j) tags[i * classes + labels[i * pixels + j]] = 1;
  }
  return Tensor::from(prediction.device(), {images, classes}, tags);
}

class Confusions {
 public:
  explicit Confusions(const Pfa& model) : model_(model) {
    add("without", true);
    add("local", true);
    add("local", false);
    if (!model.bank().full()) return;
    add("global", true);
    add("global", false);
  }

  void count(const DeviceBatch& batch) {
    Tape tape(model_.device(), Tape::Mode::evaluate);
    const auto [feat, logits] = model_.predict(tape, batch.image);
    const Tensor plain = ops::arg_max(logits, height(batch), width(batch));
    const Tensor own_tags = tags_of(plain, model_.config().classes);
    for (Entry& entry : entries_) {
      const Tensor& tags = entry.prediction.label_free ? own_tags : batch.present;
      Tensor prediction = plain;
      if (entry.prediction.name == "local") {
        const Tensor prototypes = ops::extract_prototypes(feat, logits, tags);
        prediction =
            ops::arg_max(model_.augmented_local(tape, feat, prototypes, tags), height(batch), width(batch));
      } else if (entry.prediction.name == "global") {
        prediction = ops::arg_max(model_.augmented_global(tape, feat, tags), height(batch), width(batch));
      }
      ops::count_confusion(prediction, batch.label, entry.counts);
    }
    const std::vector<uint8_t> labels = batch.label.to_host<uint8_t>();
    pixels_ += static_cast<int64_t>(labels.size());
    labelled_ += static_cast<int64_t>(labels.size()) - std::count(labels.begin(), labels.end(), kUnlabelled);
    images_ += static_cast<int>(batch.image.dim(0));
  }

  Evaluation result() const {
    Evaluation evaluation{.images = images_};
    if (pixels_ > 0)
      evaluation.labelled_share = static_cast<double>(labelled_) / static_cast<double>(pixels_);
    for (const Entry& entry : entries_) {
      evaluation.predictions.push_back(entry.prediction);
      evaluation.predictions.back().scores =
          scores_of(entry.counts.to_host<int64_t>(), model_.config().classes);
    }
    return evaluation;
  }

 private:
  struct Entry {
    Prediction prediction;
    Tensor counts;  // i64 [K,K]
  };

  void add(const char* name, bool label_free) {
    const int64_t classes = model_.config().classes;
    entries_.push_back(
        {{name, label_free, {}}, Tensor::zeros(model_.device(), {classes, classes}, DType::i64)});
  }
  static int height(const DeviceBatch& batch) { return static_cast<int>(batch.label.dim(1)); }
  static int width(const DeviceBatch& batch) { return static_cast<int>(batch.label.dim(2)); }

  const Pfa& model_;
  std::vector<Entry> entries_;
  int64_t pixels_ = 0, labelled_ = 0;
  int images_ = 0;
};

/// The whole image, and padding to the right and below where it is too small for the network.
Window whole_window(const ModelConfig& config, const Image& image) {
  return {0, 0, std::max(image.height, config.minimum_side()), std::max(image.width, config.minimum_side())};
}

std::vector<float> normalised(const Image& image, const Window& window) {
  std::vector<float> pixels(size_t{3} * window.height * window.width);
  normalise(crop(to_float(image), window), pixels.data());
  return pixels;
}

/// A whole image as a batch of one.
Batch whole_image(const ModelConfig& config, const Sample& sample) {
  const Window window = whole_window(config, sample.image);
  return {.ids = {sample.id},
          .count = 1,
          .height = window.height,
          .width = window.width,
          .image = normalised(sample.image, window),
          .label = crop(sample.label, window).labels,
          .present = sample.present};
}

/// Blocks of memory are kept by size, and images of every size bring their own: kept, they would fill the
/// memory.
void forget_blocks(const Pfa& model) {
  model.device().memory().trim();
}

}  // namespace

const Prediction* Evaluation::find(std::string_view name, bool label_free) const {
  for (const Prediction& prediction : predictions)
    if (prediction.name == name && prediction.label_free == label_free) return &prediction;
  return nullptr;
}

Evaluation evaluate(const Pfa& model, BatchSource& batches, const std::function<void(int, int)>& progress) {
  Confusions confusions(model);
  batches.start_epoch(0);
  for (int done = 1; batches.next(); ++done) {
    confusions.count(batches.make());
    if (progress) progress(done, batches.batches_per_epoch());
  }
  return confusions.result();
}

Evaluation evaluate_whole_images(const Pfa& model, const Dataset& dataset,
                                 const std::function<void(int, int)>& progress) {
  Confusions confusions(model);
  for (int i = 0; i < dataset.size(); ++i) {
    const Batch batch = whole_image(model.config(), dataset.read(i));
    confusions.count(to_device(model.device(), batch, model.config().classes));
    forget_blocks(model);
    if (progress) progress(i + 1, dataset.size());
  }
  return confusions.result();
}

LabelMap predict_image(const Pfa& model, const Image& image) {
  const Window window = whole_window(model.config(), image);
  LabelMap map{window.height, window.width, {}};
  {
    Tape tape(model.device(), Tape::Mode::evaluate);
    const Tensor pixels =
        Tensor::from(model.device(), {1, window.height, window.width, 3}, normalised(image, window));
    const Tensor logits = model.predict(tape, pixels).logits;
    map.labels = ops::arg_max(logits, window.height, window.width).to_host<uint8_t>();
  }
  forget_blocks(model);
  return crop(map, {0, 0, image.height, image.width});
}

}  // namespace scrawl
