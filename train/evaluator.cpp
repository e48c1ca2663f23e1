#include "train/evaluator.h"

#include <algorithm>

#include "data/augmentation.h"
#include "data/packed_sample.h"
#include "engine/ops.h"

namespace scrawl {
namespace {

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

/// Images of every size need other segments of memory: kept, they would add up.
void forget_segments(const Pfa& model) {
  model.device().memory().trim();
}

}  // namespace

Evaluation Evaluator::run(const std::function<void(int, int)>& progress) {
  start();
  for (int done = 1; batches_.next(); ++done) {
    confusions_->add_size(count_next());
    if (progress) progress(done, batches_.batches_per_epoch());
  }
  return confusions_->result();
}

void Evaluator::start() {
  batches_.start_epoch(0);
  if (confusions_ && confusions_->complete()) return confusions_->clear();
  captured_ = {};
  confusions_.emplace(model_);
}

DeviceBatch Evaluator::count_next() {
  if (!graphs_ || model_.device().watches_each_launch()) return count(batches_.make());
  const size_t tags = batches_.tags().size();
  if (tags != captured_.tags) {  // the first full batch, or a smaller one
    captured_.tags = std::max(tags, captured_.tags);
    return count(batches_.make());
  }
  if (!captured_.graph)
    captured_.graph = model_.device().capture([&] { captured_.batch = count(batches_.make()); });
  captured_.graph.replay();
  return captured_.batch;
}

DeviceBatch Evaluator::count(const DeviceBatch& batch) const {
  confusions_->count(batch);
  return batch;
}

Evaluation evaluate_whole_images(const Pfa& model, const Dataset& dataset,
                                 const std::function<void(int, int)>& progress) {
  Confusions confusions(model);
  for (int i = 0; i < dataset.size(); ++i) {
    {
      const DeviceBatch image = whole_image(model, pack(dataset.read(i)));
      confusions.count(image);
      confusions.add_size(image);
    }
    forget_segments(model);
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
  forget_segments(model);
  return map;
}

}  // namespace scrawl
