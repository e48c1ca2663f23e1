#pragma once
// What can be said of a data set's labels once they have been read, by training or by a check before it.
#include <bitset>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "data/label_map.h"

namespace scrawl {

/// What the label map of one sample holds.
struct LabelSummary {
  int64_t pixels = 0, labelled = 0;  // pixels 0: the sample has not been read
  std::bitset<256> drawn;            // classes of its labelled pixels
  std::bitset<256> tagged;           // by tags from a file: the background at least; none without such tags

  bool read() const { return pixels > 0; }
};

/// `tags` are those of a file, 1 for each class that the image shows, or none.
LabelSummary summarise(const LabelMap& map, std::span<const uint8_t> tags = {});

/// Validation masks label nearly all pixels: labels with fewer than half of them look like scribbles.
bool looks_like_scribbles(double labelled_share);
/// A sentence about validation labels that do.
std::string scribbles_to_score_on(double labelled_share, const std::filesystem::path& folder);

/// What may spoil training on these samples without stopping it, a sentence each: samples without any
/// labelled pixel, classes that are never drawn, tags that disagree with the labels.  Samples not yet read
/// are passed over.  `what` names the set ("training").
std::vector<std::string> label_warnings(std::span<const LabelSummary> labels,
                                        std::span<const std::string> ids,
                                        std::span<const std::string> class_names, const std::string& what);

/// Ids that come twice in one list, or in both: repeated images weigh more than once, and scores on training
/// images mean little.
std::vector<std::string> list_warnings(std::span<const std::string> train, std::span<const std::string> val);

/// The first few of the names, and how many there are beyond.
std::string name_some(std::span<const std::string> names, size_t most = 3);

}  // namespace scrawl
