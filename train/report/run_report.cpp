#include "train/report/run_report.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "engine/files.h"
#include "train/report/contact_sheet.h"

namespace scrawl {
namespace {

using Json = nlohmann::ordered_json;

Json per_class(const Scores& scores, const std::vector<std::string>& names) {
  Json json = Json::object();
  for (size_t k = 0; k < scores.iou.size(); ++k) {
    if (scores.iou[k])
      json[names[k]] = *scores.iou[k];
    else
      json[names[k]] = nullptr;
  }
  return json;
}

Json to_json(const Evaluation& evaluation, const std::vector<std::string>& names) {
  Json json;
  json["miou"] = evaluation.plain().miou;
  json["per_class_iou"] = per_class(evaluation.plain(), names);
  for (const Prediction& prediction : evaluation.predictions)
    json["predictions"][prediction.title()] = {{"label_free", prediction.label_free},
                                               {"miou", prediction.scores.miou},
                                               {"pixel_accuracy", prediction.scores.pixel_accuracy},
                                               {"per_class_iou", per_class(prediction.scores, names)}};
  json["images"] = evaluation.images;
  return json;
}

/// A row for one image: its scribble from the training labels when it is a training image, dense truth when
/// it has a mask of its own size.
SheetRow sheet_row(const Pfa& model, const Sample& sample, const std::filesystem::path& scribbles,
                   const std::filesystem::path& masks, const Config& config) {
  SheetRow row{.id = sample.id, .photo = sample.image};
  const auto read = [&](const std::filesystem::path& folder) {
    const std::filesystem::path file = folder / (sample.id + ".png");
    return std::filesystem::exists(file) ? read_label_map(file, config.model.classes, config.ignore_label)
                                         : LabelMap{};
  };
  row.scribble = read(scribbles);
  row.truth = read(masks);
  row.prediction = predict_image(model, sample.image);
  return row;
}

}  // namespace

std::string score_table(const Evaluation& evaluation, const std::vector<std::string>& class_names) {
  size_t width = 14;
  for (const std::string& name : class_names) width = std::max(width, name.size());
  std::string table = fmt::format("{:{}}", "IoU in %", width);
  for (const Prediction& p : evaluation.predictions) table += fmt::format("  {:>18}", p.title());
  const auto row = [&](const std::string& name, auto value) {
    table += fmt::format("\n{:{}}", name, width);
    for (const Prediction& p : evaluation.predictions) {
      const std::optional<double> score = value(p.scores);
      table += score ? fmt::format("  {:>18.2f}", 100 * *score) : fmt::format("  {:>18}", "-");
    }
  };
  for (size_t k = 0; k < class_names.size(); ++k)
    row(class_names[k], [k](const Scores& s) { return s.iou[k]; });
  row("mean", [](const Scores& s) { return std::optional(s.miou); });
  row("pixel accuracy", [](const Scores& s) { return std::optional(s.pixel_accuracy); });
  return table +
         "\n(true tags: prototypes chosen by the ground truth's image-level tags, as published; that leaks "
         "labels)\n";
}

std::string epoch_line(const EpochSummary& summary) {
  std::string line = fmt::format("epoch {:>3}  {:<7}  loss {:.4f}  {:.1f} images/s", summary.epoch + 1,
                                 name_of(summary.phase), summary.loss, summary.images_per_second);
  if (summary.phase == Phase::local) line += fmt::format("  bank {:.0f} % full", 100 * summary.bank_fill);
  if (summary.evaluation) {
    line += "  mIoU";
    for (const Prediction& p : summary.evaluation->predictions)
      line += fmt::format("  {} {:.3f}", p.title(), p.scores.miou);
  }
  return line;
}

std::string scores_json(const Evaluation& evaluation, const std::vector<std::string>& class_names) {
  return to_json(evaluation, class_names).dump(2) + "\n";
}

void write_result(Trainer& trainer, Device& device) {
  Json json = to_json(*trainer.last_evaluation(), trainer.classes().names);
  json["seconds"] = trainer.state().seconds;
  json["images_per_second"] = trainer.images_per_second();
  json["phases"] = Json::array();
  for (Phase phase : trainer.state().phases) json["phases"].push_back(name_of(phase));
  json["epochs"] = trainer.state().next_epoch;
  json["steps"] = trainer.state().step;
  json["device"] = device.name();
  json["peak_bytes"] = device.peak_bytes();
  write_file_atomically(trainer.directory().result(),
                        [&](std::ostream& out) { out << json.dump(2) << '\n'; });
}

void write_run_contact_sheet(Trainer& trainer, const Config& config) {
  constexpr int kRows = 8;
  const std::filesystem::path scribbles = config.data_root / config.label_path,
                              masks = config.data_root / config.val_label_path;
  const Dataset &val = trainer.validation_set(), &train = trainer.training_set();
  // Validation images seldom have scribbles; then half of the rows are training images, which do.
  const bool scribbled = std::filesystem::exists(scribbles / (val.ids().front() + ".png"));
  std::vector<SheetRow> rows;
  for (int i = 0; i < std::min(scribbled ? kRows : kRows / 2, val.size()); ++i)
    rows.push_back(sheet_row(trainer.model(), val.read(i), scribbles, masks, config));
  for (int i = 0; !scribbled && i < std::min(kRows / 2, train.size()); ++i)
    rows.push_back(sheet_row(trainer.model(), train.read(i), scribbles, masks, config));
  write_contact_sheet(trainer.directory().contact_sheet(), rows, kResultColumns, trainer.classes().palette,
                      trainer.classes().names);
}

}  // namespace scrawl
