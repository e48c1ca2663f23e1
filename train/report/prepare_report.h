#pragma once
#include <string>

#include "data/annotations/prepared_set.h"
#include "data/tags.h"

namespace scrawl {

/// What was made of annotations: a table of images, shapes and pixels by class, the lists, and whatever the
/// user may want to mend.
std::string prepare_report(const PreparedSet& set, const ClassList& classes);

/// How many images show each class.
std::string tags_report(const Tags& tags, const ClassList& classes);

}  // namespace scrawl
