#pragma once
#include "data/loader.h"
#include "train/config/config.h"
#include "train/evaluation.h"

namespace scrawl {

/// The data that a configuration names, in the loader's terms.
DatasetConfig training_data(const Config& config);
DatasetConfig validation_data(const Config& config);
LoaderConfig loader_config(const Config& config, bool train);

/// Says so when most validation pixels turned out unlabelled: scores against scribbles mean little.
void warn_about_scribbles(const Evaluation& evaluation, const Config& config);

/// Says what spoils training, or scores, of what has been read of a data set so far; `what` names the set.
void warn_about_labels(const Dataset& dataset, const std::vector<std::string>& class_names,
                       const std::string& what);

}  // namespace scrawl
