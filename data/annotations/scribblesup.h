#pragma once
#include <string>
#include <string_view>

#include "data/annotations/annotation.h"

namespace scrawl {

/// Reads one XML file of ScribbleSup (Lin et al., CVPR 2016): every <polygon> is one open stroke of a class,
/// its points are pixels counted from 0.  The names of classes are as in the file; `id` names the image. What
/// the file says of the image's size is left aside, as in all of the common uses of these files.
Annotation parse_scribblesup(std::string xml, const std::string& id, const std::string& name);

/// The VOC name of a class that ScribbleSup calls otherwise ("plane" is "aeroplane"); other names stay.
std::string_view voc_name(std::string_view tag);

}  // namespace scrawl
