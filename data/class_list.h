#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "data/palette.h"

namespace scrawl {

/// The classes of a data set: what they are called and how they are shown.
struct ClassList {
  std::vector<std::string> names;   // of class 0, which is the background, and on
  Palette palette = voc_palette();  // the colour of each index; unlabelled pixels keep VOC's

  int size() const { return static_cast<int>(names.size()); }
  /// The index of a name, if there is one.
  std::optional<int> find(std::string_view name) const;
};

/// Reads a classes.txt: a class a line, its name and, if it is to have another colour than VOC's of the same
/// index, "r g b" (each 0 to 255) or "#rrggbb" behind it.  InputError, with the line, for a colour that is
/// none, a name given twice, a text that is not UTF-8, and for less than 1 or more than 255 classes.
ClassList read_class_list(const std::filesystem::path& path);

/// Writes what read_class_list reads, with every colour, so that no name can be mistaken for one.
void write_class_list(const std::filesystem::path& path, const ClassList& classes);

/// Names without colours of their own; checked as read_class_list does, `where` begins the message.
ClassList class_list(std::vector<std::string> names, const std::string& where);

/// PASCAL VOC: background, aeroplane … tvmonitor.
const ClassList& voc_classes();

/// The classes where nothing says more than their number: VOC's for 21, else "background", "class 1" and so
/// on.
ClassList default_classes(int count);

/// The classes of the data set below `root`: those of its classes.txt, whose number must then be `count`,
/// else the default ones.
ClassList classes_of(const std::filesystem::path& root, int count);

}  // namespace scrawl
