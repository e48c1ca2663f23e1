#include "train/report/check_report.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "engine/error.h"

namespace scrawl {
namespace {

using Json = nlohmann::ordered_json;
using Sets = std::array<const SetCheck*, 2>;

constexpr size_t kFaultsShown = 5;  // of each kind

double share(int64_t part, int64_t whole) {
  return whole > 0 ? static_cast<double>(part) / static_cast<double>(whole) : 0.0;
}

std::string percent(double share) {
  return fmt::format("{:.2f} %", 100 * share);
}

std::vector<std::string> unlabelled(const SetCheck& set) {
  std::vector<std::string> ids;
  for (size_t i = 0; i < set.labels.size(); ++i) {
    if (set.labels[i].read() && set.labels[i].labelled == 0) ids.push_back(set.ids[i]);
  }
  return ids;
}

std::string overview(const Sets& sets) {
  std::string text = fmt::format("{:26}  {:>16}  {:>16}\n", "", sets[0]->name, sets[1]->name);
  const auto row = [&](std::string_view title, auto value) {
    text += fmt::format("{:26}", title);
    for (const SetCheck* set : sets) text += fmt::format("  {:>16}", set->broken ? "-" : value(*set));
    text += "\n";
  };
  const auto spread = [](const Spread& s) { return fmt::format("{} / {} / {}", s.least, s.median, s.most); };
  row("images", [](const SetCheck& set) { return std::to_string(set.ids.size()); });
  row("width, least/median/most", [&](const SetCheck& set) { return spread(set.width); });
  row("height", [&](const SetCheck& set) { return spread(set.height); });
  row("labelled pixels", [](const SetCheck& set) { return percent(set.labelled_share()); });
  row("images without labels", [](const SetCheck& set) { return std::to_string(unlabelled(set).size()); });
  row("tags from", [](const SetCheck& set) {
    return set.tags_from_file ? set.config.tags().filename().string() : std::string("the labels");
  });
  row("faults", [](const SetCheck& set) { return std::to_string(set.faults.size()); });
  return text;
}

/// For each class the images that show it, its pixels, its share of all labelled pixels and, where a file
/// holds tags, the images that show it by those.
std::string class_table(const Sets& sets, const std::vector<std::string>& names) {
  size_t width = 10;
  for (const std::string& name : names) width = std::max(width, name.size());
  std::string captions, text = fmt::format("{:{}}", "class", width);
  for (const SetCheck* set : sets) {
    if (set->broken) continue;
    const std::string tagged = set->tags_from_file ? fmt::format("  {:>7}", "tagged") : "";
    captions.resize(text.size() + 2, ' ');
    captions += set->name;
    text += fmt::format("  {:>7}  {:>12}  {:>9}{}", "images", "pixels", "share", tagged);
  }
  text = fmt::format("{}\n{}\n", captions, text);
  for (size_t k = 0; k < names.size(); ++k) {
    text += fmt::format("{:{}}", names[k], width);
    for (const SetCheck* set : sets) {
      if (set->broken) continue;
      const ClassCount& count = set->classes[k];
      text += fmt::format("  {:>7}  {:>12}  {:>9}", count.images, count.pixels,
                          percent(share(count.pixels, set->labelled)));
      if (set->tags_from_file) text += fmt::format("  {:>7}", count.tagged);
    }
    text += "\n";
  }
  return text;
}

/// The values outside of the classes: "7 in 3 images (120 pixels)".
std::string stray_text(const SetCheck& set) {
  std::vector<std::string> values;
  for (const auto& [value, stray] : set.stray)
    values.push_back(fmt::format("{} in {} image{} ({} pixels)", value, stray.images,
                                 stray.images == 1 ? "" : "s", stray.pixels));
  return fmt::format(
      "{}{}", fmt::join(values, ", "),
      values.size() == 1 ? "; if it marks unlabelled pixels, set dataset.ignore_label to it" : "");
}

/// Faults by kind, the first few of each.
std::string fault_list(const SetCheck& set) {
  std::string text;
  for (int k = 0; k < kFaultKinds; ++k) {
    const auto kind = static_cast<FaultKind>(k);
    const auto count = static_cast<size_t>(set.faults_of(kind));
    if (count == 0) continue;
    text += fmt::format("\n{} set, {}: {}\n", set.name, name_of(kind), count);
    if (kind == FaultKind::stray_labels) text += fmt::format("  in all: {}\n", stray_text(set));
    size_t shown = 0;
    for (const Fault& fault : set.faults) {
      if (fault.kind == kind && shown++ < kFaultsShown) text += fmt::format("  {}\n", fault.what);
    }
    if (count > kFaultsShown)
      text += fmt::format("  … and {} more (--json names them all)\n", count - kFaultsShown);
  }
  return text;
}

Json to_json(const Spread& spread) {
  return {{"min", spread.least}, {"median", spread.median}, {"max", spread.most}};
}

Json to_json(const SetCheck& set, const std::vector<std::string>& names) {
  Json json{{"list", (set.config.root / set.config.list).string()},
            {"labels", (set.config.root / set.config.label_dir).string()},
            {"images", set.ids.size()}};
  if (set.broken) {
    json["broken"] = *set.broken;
    return json;
  }
  json["width"] = to_json(set.width);
  json["height"] = to_json(set.height);
  json["pixels"] = set.pixels;
  json["labelled_pixels"] = set.labelled;
  json["labelled_share"] = set.labelled_share();
  json["unlabelled_images"] = unlabelled(set);
  json["tags"] = set.tags_from_file ? "file" : "labels";
  for (size_t k = 0; k < names.size(); ++k) {
    const ClassCount& count = set.classes[k];
    Json entry{{"index", k}, {"name", names[k]}, {"images", count.images}, {"pixels", count.pixels}};
    if (set.tags_from_file) entry["tagged_images"] = count.tagged;
    json["classes"].push_back(std::move(entry));
  }
  json["stray_labels"] = Json::array();
  for (const auto& [value, stray] : set.stray)
    json["stray_labels"].push_back({{"value", value}, {"images", stray.images}, {"pixels", stray.pixels}});
  json["faults"] = Json::array();
  for (const Fault& fault : set.faults)
    json["faults"].push_back({{"kind", name_of(fault.kind)}, {"id", fault.id}, {"what", fault.what}});
  return json;
}

}  // namespace

std::string check_text(const DatasetCheck& check) {
  const Sets sets{&check.train, &check.val};
  std::string text = overview(sets);
  if (!check.train.broken || !check.val.broken)
    text += fmt::format("\n{}", class_table(sets, check.class_names));
  for (const SetCheck* set : sets) {
    if (set->broken) text += fmt::format("\n{} set: {}\n", set->name, *set->broken);
    text += fault_list(*set);
  }
  if (!check.warnings.empty()) text += "\n";
  for (const std::string& warning : check.warnings) text += fmt::format("warning: {}\n", warning);
  if (!check.obstacle) text += "\ntraining can start\n";
  return text;
}

std::string check_json(const DatasetCheck& check) {
  Json json{{"trainable", !check.obstacle.has_value()},
            {"obstacle", check.obstacle ? Json(*check.obstacle) : Json()},
            {"warnings", check.warnings},
            {"training", to_json(check.train, check.class_names)},
            {"validation", to_json(check.val, check.class_names)}};
  // Names of files need not be UTF-8, JSON must.
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace scrawl
