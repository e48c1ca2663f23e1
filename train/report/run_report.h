#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "train/trainer.h"

namespace scrawl {

/// A table for the terminal: mIoU and pixel accuracy of every prediction, and the IoU of every class.
std::string score_table(const Evaluation& evaluation, const std::vector<std::string>& class_names);

/// One line about an epoch.
std::string epoch_line(const EpochSummary& summary);

/// {"miou", "per_class_iou", "predictions": {…}}; a class without IoU is null.
std::string scores_json(const Evaluation& evaluation, const std::vector<std::string>& class_names);

/// result.json of a finished run: the label-free scores of the plain prediction, all others below
/// "predictions", seconds, images_per_second, phases, epochs, peak_bytes.
void write_result(Trainer& trainer, Device& device);

/// contact_sheet.png of a finished run: the first images of the validation set, and some of the training set,
/// whose scribbles show what the model was given.
void write_run_contact_sheet(Trainer& trainer, const Config& config);

}  // namespace scrawl
