#pragma once
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "data/annotations/annotation.h"
#include "data/class_list.h"
#include "data/for_each_index.h"

namespace scrawl {

enum class AnnotationFormat { scribblesup, labelme, cvat };

struct AnnotationSet {
  std::vector<Annotation> images;  // sorted by id; every id once
  ClassList classes;               // see class_of()
};

/// Reads a file, or all files of a folder (.xml, of LabelMe .json), in parallel.  The classes are VOC's for
/// ScribbleSup, else those that the files name, sorted, behind the background.  InputError for what cannot be
/// read and for two annotations of one image.
AnnotationSet read_annotations(AnnotationFormat format, const std::filesystem::path& path,
                               const ProgressCallback& progress = {});

/// The label that a shape's name stands for: the index in `classes`, by its own or ScribbleSup's name; 0 for
/// "background" and "_background_"; kUnlabelled for LabelMe's "__ignore__".  InputError for any other name.
uint8_t class_of(const std::string& name, const ClassList& classes);

}  // namespace scrawl
