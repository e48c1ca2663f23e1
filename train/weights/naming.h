#pragma once
// What others call the tensors of this model.  Ours are the names of the published code.
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace scrawl {

enum class Naming { published, hugging_face };

/// A part of the model, where a naming keeps it, and a tensor that every such part has, to find it by.
struct PartName {
  std::string_view part;    // ours, with its dot: "encoder."
  std::string_view prefix;  // theirs, in a file of the whole model
  std::string_view marker;  // below the prefix
};
std::span<const PartName> parts_of(Naming naming);

/// What a file of the whole model calls our tensor `name`: one tensor, or several whose rows follow each
/// other in ours (keys and values); none when it has no such tensor.
std::vector<std::string> names_in(Naming naming, const std::string& name);

}  // namespace scrawl
