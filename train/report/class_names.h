#pragma once
#include <filesystem>
#include <string>
#include <vector>

namespace scrawl {

/// Names of the classes: the lines of <root>/classes.txt when there (one name a line, background first), the
/// VOC names for 21 classes, else "class 1" and so on.  InputError when the file names another number of
/// classes, one name twice, or is not UTF-8 text.
std::vector<std::string> read_class_names(const std::filesystem::path& root, int classes);

/// The names without a file: VOC's for 21 classes, else "background", "class 1" and so on.
std::vector<std::string> default_class_names(int classes);

}  // namespace scrawl
