#include "train/evaluator.h"

#include <algorithm>

#include "data/augmentation.h"
#include "data/packed_sample.h"
#include "engine/ops.h"
#include "kernels/labels.h"

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

/// A whole image as a batch of one, padded to the right and below where it is too small for the network.
DeviceBatch whole_image(const Pfa& model, const PackedSample& sample) {
  Device& device = model.device();
  const auto bytes = static_cast<int64_t>(sample.pixels.size() * sizeof(LabelledPixel));
  const Tensor pixels(device, {bytes}, DType::u8), plan(device, {sizeof(CropPlan)}, DType::u8);
  const CropPlan whole =
      crop_plan({}, static_cast<const LabelledPixel*>(pixels.raw()), sample.height, sample.width);
  device.upload(pixels.raw(), sample.pixels.data(), bytes);
  device.upload(plan.raw(), &whole, sizeof whole);

  const int least = model.config().minimum_side();
  const int64_t rows = std::max(sample.height, least), columns = std::max(sample.width, least);
  const auto classes = static_cast<int64_t>(sample.present.size());
  DeviceBatch batch{.image = Tensor(device, {1, rows, columns, 3}),
                    .label = Tensor(device, {1, rows, columns}, DType::u8),
                    .present = Tensor::from(device, {1, classes}, sample.present)};
  device.run(AugmentCrops{.plans = static_cast<const CropPlan*>(plan.raw()),
                          .images = 1,
                          .height = static_cast<int>(rows),
                          .width = static_cast<int>(columns),
                          .image = batch.image.data<float>(),
                          .label = batch.label.data<uint8_t>()});
  return batch;
}

/// The upper left of a label map.
LabelMap cut(const std::vector<uint8_t>& labels, int64_t stride, int height, int width) {
  LabelMap map{height, width, {}};
  for (int y = 0; y < height; ++y)
    map.labels.insert(map.labels.end(), &labels[y * stride], &labels[y * stride] + width);
  return map;
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
    confusions.count(whole_image(model, pack(dataset.read(i))));
    forget_blocks(model);
    if (progress) progress(i + 1, dataset.size());
  }
  return confusions.result();
}

LabelMap predict_image(const Pfa& model, const Image& image) {
  LabelMap map;
  {
    Tape tape(model.device(), Tape::Mode::evaluate);
    const PackedSample sample{.height = image.height, .width = image.width, .pixels = pack(image)};
    const Tensor pixels = whole_image(model, sample).image;
    const Tensor logits = model.predict(tape, pixels).logits;
    const Tensor classes = ops::arg_max(logits, pixels.dim(1), pixels.dim(2));
    map = cut(classes.to_host<uint8_t>(), pixels.dim(2), image.height, image.width);
  }
  forget_blocks(model);
  return map;
}

}  // namespace scrawl
