#include "data/annotations/annotation.h"

#include <algorithm>
#include <filesystem>

#include "engine/error.h"

namespace scrawl {

std::string id_of_image(const std::string& path, const std::string& where) {
  constexpr size_t kLongest = 4096;  // as in the system's own calls
  if (path.size() > kLongest)
    throw InputError("{}: the image's name has {} characters; at most {} are read", where, path.size(),
                     kLongest);
  const std::filesystem::path image = std::filesystem::path(path).lexically_normal();
  if (std::ranges::any_of(path, [](unsigned char c) { return c < ' ' || c == 0x7F; }))
    throw InputError("{}: the image's name holds a line break or another control character", where);
  if (image.stem().empty() || image.is_absolute() || *image.begin() == "..") {
    throw InputError("{}: '{}' is no name of an image below the folder of images", where, path);
  }
  return (image.parent_path() / image.stem()).string();
}

}  // namespace scrawl
