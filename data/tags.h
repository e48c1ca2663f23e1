#pragma once
#include <filesystem>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace scrawl {

/// Image id -> one number a foreground class.
using Tags = std::unordered_map<std::string, std::vector<float>>;

/// Reads a pickled dictionary of label vectors (the cls_labels.npy of many weakly supervised methods).
/// Integer keys are VOC ids without their underscore: 2007000032 becomes "2007_000032".
/// Executes nothing; InputError for any content other than keys, arrays and their types.
Tags read_tags(const std::filesystem::path& path);

/// The same from the bytes of a file; `name` begins the error messages.
Tags parse_tags(std::string_view file, const std::string& name);

/// 1 for each class of an image, background first: dictionaries leave it out, and it is always there.
std::vector<uint8_t> present_classes(const std::vector<float>& tags);

/// The tags of one image.  InputError, which names `file`, when there are none, or not one for each of the
/// classes but the background.
const std::vector<float>& tags_of(const std::string& id, const Tags& tags, int classes,
                                  const std::filesystem::path& file);

/// Writes the dictionary so that numpy.load(path, allow_pickle=True).item() gives it back, ids as text, and
/// so does read_tags; vectors hold at most 65535 numbers.
void write_tags(const std::filesystem::path& path, const Tags& tags);

/// The bytes of such a file.
std::string encode_tags(const Tags& tags);

}  // namespace scrawl
