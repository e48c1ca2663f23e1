#pragma once
#include <optional>
#include <string>
#include <vector>

#include "data/dataset_check.h"

namespace scrawl {

/// All that `scrawl check` found out.
struct DatasetCheck {
  SetCheck train, val;
  std::vector<std::string> class_names;
  std::vector<std::string> warnings;
  std::optional<std::string> obstacle;  // why training could not work
};

/// Tables for the terminal, then faults, at most a few of each kind, and warnings.
std::string check_text(const DatasetCheck& check);

/// The same with all faults; docs/check.md describes the keys.
std::string check_json(const DatasetCheck& check);

}  // namespace scrawl
