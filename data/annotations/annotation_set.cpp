#include "data/annotations/annotation_set.h"

#include <algorithm>
#include <set>

#include "data/annotations/cvat.h"
#include "data/annotations/labelme.h"
#include "data/annotations/scribblesup.h"
#include "data/sample_files.h"
#include "engine/error.h"
#include "engine/files.h"

namespace scrawl {

namespace fs = std::filesystem;

namespace {

using Colours = std::map<std::string, Palette::value_type>;

AnnotationFile parse(AnnotationFormat format, const fs::path& path) {
  switch (format) {
    case AnnotationFormat::scribblesup:
      return {{parse_scribblesup(read_file(path), path.stem().string(), path.string())}, {}};
    case AnnotationFormat::labelme:
      return {{parse_labelme(read_file(path), path.string())}, {}};
    case AnnotationFormat::cvat:
      return parse_cvat(read_file(path), path.string());
  }
  throw std::invalid_argument("unknown format of annotations");
}

bool is_background(std::string_view name) {
  return name == "background" || name == "_background_";
}
bool is_ignored(std::string_view name) {
  return name == "__ignore__";
}

/// The background, then all names in order, each in its colour if it has one.
ClassList collect_classes(const std::vector<Annotation>& images, Colours colours, const std::string& where) {
  std::set<std::string_view> all;
  for (const Annotation& image : images) {
    for (const DrawnShape& shape : image.shapes) all.insert(shape.name);
  }
  for (const auto& [name, colour] : colours) all.insert(name);
  std::vector<std::string> names{"background"};
  for (const std::string_view name : all) {
    if (!is_background(name) && !is_ignored(name)) names.emplace_back(name);
  }
  ClassList classes = class_list(std::move(names), where);
  for (int k = 0; k < classes.size(); ++k) {
    if (const auto found = colours.find(classes.names[k]); found != colours.end())
      classes.palette[k] = found->second;
  }
  return classes;
}

}  // namespace

AnnotationSet read_annotations(AnnotationFormat format, const fs::path& path,
                               const ProgressCallback& progress) {
  std::error_code error;
  const std::string extension = format == AnnotationFormat::labelme ? ".json" : ".xml";
  const std::vector<fs::path> files =
      fs::is_regular_file(path, error) ? std::vector{path} : list_files(path, extension);
  std::vector<AnnotationFile> parts(files.size());
  for_each_index(
      static_cast<int>(files.size()), [&](int i) { parts[i] = parse(format, files[i]); }, progress);

  AnnotationSet set;
  Colours colours;
  size_t images = 0;
  for (const AnnotationFile& part : parts) images += part.images.size();
  set.images.reserve(images);
  for (AnnotationFile& part : parts) {
    std::ranges::move(part.images, std::back_inserter(set.images));
    colours.merge(part.classes);
  }
  std::ranges::sort(set.images, {}, &Annotation::id);
  const auto twice = std::ranges::adjacent_find(set.images, {}, &Annotation::id);
  if (twice != set.images.end())
    throw InputError("{}: image '{}' is annotated twice", path.string(), twice->id);
  set.classes = format == AnnotationFormat::scribblesup
                    ? voc_classes()
                    : collect_classes(set.images, std::move(colours), path.string());
  return set;
}

uint8_t class_of(const std::string& name, const ClassList& classes) {
  std::optional<int> found = classes.find(name);
  if (!found) found = classes.find(voc_name(name));
  if (!found && is_background(name)) found = 0;
  if (!found && is_ignored(name)) found = kUnlabelled;
  if (!found) throw InputError("'{}' is none of the {} classes", name, classes.size());
  return static_cast<uint8_t>(*found);
}

}  // namespace scrawl
