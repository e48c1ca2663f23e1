#pragma once
// Reads a whole data set and says all that is wrong with it, before any training.
#include <array>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/for_each_index.h"
#include "data/label_summary.h"

namespace scrawl {

/// What keeps a file from being used.
enum class FaultKind {
  missing,       // no image or no label map of that id
  unreadable,    // of another format, damaged or cut short
  sizes_differ,  // of an image and its label map
  stray_labels,  // values outside of the classes
  tags,          // none for an image, or another number than there are classes
};
inline constexpr int kFaultKinds = 5;
std::string_view name_of(FaultKind kind);

struct Fault {
  FaultKind kind;
  std::string id;    // of the image
  std::string what;  // one sentence that names the file
};

/// How often a value outside of the classes occurs.
struct StrayLabel {
  int64_t pixels = 0;
  int images = 0;
};

struct ClassCount {
  int64_t pixels = 0;
  int images = 0;  // that show it
  int tagged = 0;  // that show it by their tags
};

struct Spread {
  int least = 0, median = 0, most = 0;
};

/// All about one list of a data set.
struct SetCheck {
  std::string name;  // "training" or "validation"
  DatasetConfig config;
  std::optional<std::string> broken;  // why nothing could be looked at: a missing folder, an empty list
  std::vector<std::string> ids;
  std::vector<Fault> faults;         // of tags, then in the order of the list; training stops at any of them
  std::vector<LabelSummary> labels;  // of each id; not read() where the label map has a fault
  std::vector<ClassCount> classes;
  std::map<int, StrayLabel> stray;  // by value
  bool tags_from_file = false;
  Spread width, height;              // of the images
  int64_t pixels = 0, labelled = 0;  // of label maps without a fault

  double labelled_share() const;
  int64_t faults_of(FaultKind kind) const;
};

/// Reads every file of the set on `threads` threads (0 = all processors).  Throws nothing for bad input: what
/// is wrong is in the result.
SetCheck check_set(const DatasetConfig& config, const std::string& name, int threads = 0,
                   const ProgressCallback& progress = {});

/// Why training with batches of `batch_size` could not work, in one line, or nothing.
std::optional<std::string> obstacle(const SetCheck& train, const SetCheck& val, int batch_size);

/// What may spoil training or its scores without stopping it, a sentence each.
std::vector<std::string> check_warnings(const SetCheck& train, const SetCheck& val,
                                        std::span<const std::string> class_names);

/// InputError when no label map of the set has a labelled pixel: training would do nothing at a loss of 0.
/// Reads label maps until one has, which is the first as a rule.
void require_labels(const Dataset& dataset);

}  // namespace scrawl
