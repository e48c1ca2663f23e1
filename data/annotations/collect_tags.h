#pragma once
#include <filesystem>
#include <set>
#include <string>

#include "data/class_list.h"
#include "data/for_each_index.h"
#include "data/tags.h"

namespace scrawl {

/// The tags of every label map (*.png) in a folder, dense masks or scribbles, under the maps' names: 1 for
/// the classes that it shows.
Tags tags_of_label_maps(const std::filesystem::path& folder, const ClassList& classes, int ignore_label,
                        const ProgressCallback& progress = {});

/// The tags of every VOC annotation (*.xml) in a folder: 1 for the classes that are the <name> of an
/// <object>. InputError for a name that is no class.
Tags tags_of_voc_objects(const std::filesystem::path& folder, const ClassList& classes,
                         const ProgressCallback& progress = {});

/// The classes that one VOC annotation names.
std::set<int> parse_voc_objects(std::string xml, const ClassList& classes, const std::string& name);

}  // namespace scrawl
