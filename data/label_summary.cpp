#include "data/label_summary.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <set>

#include "engine/error.h"

namespace scrawl {
namespace {

using Classes = std::bitset<256>;

/// "3 training images have", as a sentence about them begins.
std::string that_have(size_t count, const std::string& what) {
  return count == 1 ? fmt::format("1 {} image has", what) : fmt::format("{} {} images have", count, what);
}

std::vector<std::string> named(const Classes& classes, std::span<const std::string> names) {
  std::vector<std::string> list;
  for (size_t k = 0; k < names.size(); ++k) {
    if (classes[k]) list.push_back(names[k]);
  }
  return list;
}

/// Samples with tags, of whose classes `select` leaves any but the background, which tags always hold:
/// "2007_000032 (dog, person)".
template <typename Select>
std::vector<std::string> samples_with(std::span<const LabelSummary> labels, std::span<const std::string> ids,
                                      std::span<const std::string> class_names, Select select) {
  std::vector<std::string> list;
  for (size_t i = 0; i < labels.size(); ++i) {
    if (!labels[i].read() || labels[i].tagged.none()) continue;
    Classes classes = select(labels[i]);
    classes.reset(0);
    if (classes.any())
      list.push_back(fmt::format("{} ({})", ids[i], fmt::join(named(classes, class_names), ", ")));
  }
  return list;
}

}  // namespace

LabelSummary summarise(const LabelMap& map, std::span<const uint8_t> tags) {
  std::array<int64_t, 256> counts{};
  for (const uint8_t label : map.labels) ++counts[label];
  LabelSummary summary{.pixels = static_cast<int64_t>(map.labels.size())};
  summary.labelled = summary.pixels - counts[kUnlabelled];
  for (int k = 0; k < kUnlabelled; ++k) summary.drawn[k] = counts[k] > 0;
  for (size_t k = 0; k < tags.size(); ++k) summary.tagged[k] = tags[k] != 0;
  return summary;
}

bool looks_like_scribbles(double labelled_share) {
  return labelled_share < 0.5;
}

std::string scribbles_to_score_on(double labelled_share, const std::filesystem::path& folder) {
  return fmt::format(
      "only {:.1f} % of the pixels in {} are labelled: these look like scribbles, and scores on them mean "
      "little; dataset.val_label_path can name a folder of dense masks",
      100 * labelled_share, folder.string());
}

std::vector<std::string> label_warnings(std::span<const LabelSummary> labels,
                                        std::span<const std::string> ids,
                                        std::span<const std::string> class_names, const std::string& what) {
  std::vector<std::string> warnings;
  std::vector<std::string> unlabelled;
  Classes drawn;
  for (size_t i = 0; i < labels.size(); ++i) {
    drawn |= labels[i].drawn;
    if (labels[i].read() && labels[i].labelled == 0) unlabelled.push_back(ids[i]);
  }
  if (!unlabelled.empty())
    warnings.push_back(
        fmt::format("{} no labelled pixel: {}", that_have(unlabelled.size(), what), name_some(unlabelled)));
  const std::vector<std::string> never = named(~drawn, class_names);
  if (!never.empty())
    warnings.push_back(fmt::format("no {} label map{} shows {}", what,
                                   std::ranges::all_of(labels, &LabelSummary::read) ? "" : " read so far",
                                   fmt::join(never, ", ")));

  const auto denied =
      samples_with(labels, ids, class_names, [](const LabelSummary& l) { return l.drawn & ~l.tagged; });
  if (!denied.empty())
    warnings.push_back(fmt::format("{} labels of classes that the tags leave out: {}",
                                   that_have(denied.size(), what), name_some(denied)));
  const auto undrawn =
      samples_with(labels, ids, class_names, [](const LabelSummary& l) { return l.tagged & ~l.drawn; });
  if (!undrawn.empty())
    warnings.push_back(fmt::format("{} tags of classes without a labelled pixel: {}",
                                   that_have(undrawn.size(), what), name_some(undrawn)));
  return warnings;
}

std::vector<std::string> list_warnings(std::span<const std::string> train, std::span<const std::string> val) {
  std::vector<std::string> warnings;
  const std::set<std::string> in_train(train.begin(), train.end()), in_val(val.begin(), val.end());
  const auto repeated = [&](std::span<const std::string> ids, size_t distinct, std::string_view what) {
    if (ids.size() == distinct) return;
    warnings.push_back(
        fmt::format("the {} list names {} of its images more than once", what, ids.size() - distinct));
  };
  repeated(train, in_train.size(), "training");
  repeated(val, in_val.size(), "validation");
  std::vector<std::string> both;
  std::ranges::set_intersection(in_train, in_val, std::back_inserter(both));
  if (!both.empty())
    warnings.push_back(fmt::format(
        "{} in the training list too, so that scores on them mean little: {}",
        both.size() == 1 ? "1 validation image is" : fmt::format("{} validation images are", both.size()),
        name_some(both)));
  return warnings;
}

std::string name_some(std::span<const std::string> names, size_t most) {
  const std::string first = fmt::format("{}", fmt::join(names.first(std::min(most, names.size())), ", "));
  return names.size() <= most ? first : fmt::format("{} … and {} more", first, names.size() - most);
}

}  // namespace scrawl
