#include "train/report/prepare_report.h"

#include <fmt/format.h>

#include <algorithm>

#include "data/label_summary.h"

namespace scrawl {
namespace {

size_t width_of_names(const ClassList& classes) {
  size_t width = 10;
  for (const std::string& name : classes.names) width = std::max(width, name.size());
  return width;
}

std::string remarks(const PreparedSet& set, const ClassList& classes) {
  std::string text;
  std::vector<std::string> never;
  for (int k = 1; k < classes.size(); ++k) {
    if (set.classes[k].pixels == 0) never.push_back(classes.names[k]);
  }
  if (set.classes.front().pixels == 0)
    text += fmt::format(
        "warning: nothing is drawn on {}, class 0: what lies between the objects cannot be learned\n",
        classes.names.front());
  if (!never.empty()) text += fmt::format("never drawn: {}\n", name_some(never));
  if (!set.empty.empty())
    text += fmt::format("nothing drawn on {} images, which are in neither list: {}\n", set.empty.size(),
                        name_some(set.empty));
  if (set.outside > 0)
    text += fmt::format("{} points lay outside their image and were moved to its border\n", set.outside);
  for (const auto& [kind, number] : set.skipped)
    text += fmt::format("left out, since scribbles cannot show them: {} of kind '{}'\n", number, kind);
  return text;
}

}  // namespace

std::string prepare_report(const PreparedSet& set, const ClassList& classes) {
  const size_t width = width_of_names(classes);
  std::string text = fmt::format("{:{}}  {:>8}  {:>8}  {:>10}  {:>9}\n", "class", width, "images", "shapes",
                                 "pixels", "share");
  int64_t labelled = 0;
  for (int k = 0; k < classes.size(); ++k) {
    const auto& [images, shapes, pixels] = set.classes[k];
    labelled += pixels;
    text += fmt::format("{:{}}  {:>8}  {:>8}  {:>10}  {:>7.3f} %\n", classes.names[k], width, images, shapes,
                        pixels, 100.0 * static_cast<double>(pixels) / static_cast<double>(set.pixels));
  }
  text += fmt::format("{:{}}  {:>8}  {:>8}  {:>10}  {:>7.3f} %\n", "labelled", width, "", "", labelled,
                      100.0 * static_cast<double>(labelled) / static_cast<double>(set.pixels));
  text += fmt::format("{} images to train on, {} to validate on\n", set.train, set.val);
  return text + remarks(set, classes);
}

std::string tags_report(const Tags& tags, const ClassList& classes) {
  const size_t width = width_of_names(classes);
  std::vector<int> images(classes.size());
  for (const auto& [id, vector] : tags) {
    for (size_t k = 0; k < vector.size(); ++k) images[k + 1] += vector[k] > 0.5f;
  }
  std::string text = fmt::format("{:{}}  {:>8}\n", "class", width, "images");
  for (int k = 1; k < classes.size(); ++k)
    text += fmt::format("{:{}}  {:>8}\n", classes.names[k], width, images[k]);
  return text +
         fmt::format("{} images, {} classes besides the background\n", tags.size(), classes.size() - 1);
}

}  // namespace scrawl
