#include "train/confusions.h"

#include <numeric>

#include "engine/ops.h"
#include "kernels/elementwise.h"

namespace scrawl {

Confusions::Confusions(const Pfa& model) : model_(model), global_(model.bank().full()) {
  predictions_ = {{"without", true, {}}, {"local", true, {}}, {"local", false, {}}};
  if (global_) predictions_.insert(predictions_.end(), {{"global", true, {}}, {"global", false, {}}});
  const int64_t classes = model.config().classes;
  counts_ = Tensor(model.device(), {static_cast<int64_t>(predictions_.size()), classes, classes}, DType::i64);
  clear();
}

void Confusions::clear() {
  model_.device().run(SetZero{.y = counts_.raw(), .bytes = counts_.bytes()});
  pixels_ = 0;
  images_ = 0;
}

void Confusions::count(const DeviceBatch& batch) const {
  const int classes = model_.config().classes;
  const auto height = static_cast<int>(batch.label.dim(1)), width = static_cast<int>(batch.label.dim(2));
  Tape tape(model_.device(), Tape::Mode::evaluate);
  const Pfa::Prediction plain = model_.predict(tape, batch.image);
  const Tensor plain_classes = ops::arg_max(plain.logits, height, width);
  const Tensor own_tags = ops::predicted_tags(plain_classes, classes);
  int64_t offset = 0;
  for (const Prediction& prediction : predictions_) {
    Tensor predicted = plain_classes;
    if (prediction.name != "without") {
      const Tensor& tags = prediction.label_free ? own_tags : batch.present;
      predicted = ops::arg_max(augmented_logits(tape, prediction.name, plain, tags), height, width);
    }
    ops::count_confusion(predicted, batch.label, counts_.slice(offset, {classes, classes}));
    offset += int64_t{classes} * classes;
  }
}

Tensor Confusions::augmented_logits(Tape& tape, const std::string& name, const Pfa::Prediction& plain,
                                    const Tensor& tags) const {
  if (name == "global") return model_.augmented_global(tape, plain.feat, tags);
  const Tensor prototypes = ops::extract_prototypes(plain.feat, plain.logits, tags);
  return model_.augmented_local(tape, plain.feat, prototypes, tags);
}

void Confusions::add_size(const DeviceBatch& batch) {
  pixels_ += batch.label.elements();
  images_ += static_cast<int>(batch.label.dim(0));
}

Evaluation Confusions::result() const {
  Evaluation evaluation{.predictions = predictions_, .images = images_};
  const int classes = model_.config().classes;
  const std::vector<int64_t> counts = counts_.to_host<int64_t>();
  auto begin = counts.begin();
  for (Prediction& prediction : evaluation.predictions) {
    const auto end = begin + int64_t{classes} * classes;
    prediction.scores = scores_of({begin, end}, classes);
    begin = end;
  }
  // Each matrix holds every labelled pixel once.
  const int64_t labelled =
      std::accumulate(counts.begin(), counts.begin() + int64_t{classes} * classes, int64_t{0});
  if (pixels_ > 0) evaluation.labelled_share = static_cast<double>(labelled) / static_cast<double>(pixels_);
  return evaluation;
}

}  // namespace scrawl
