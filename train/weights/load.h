#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "model/pfa.h"
#include "train/weights/weight_file.h"

namespace scrawl {

/// Which parameters find their weights in a file: tensors under our names that it has and that it lacks, and
/// its own, under its names, that are of no use.
struct WeightMatch {
  std::vector<std::string> found, missing, skipped;
};

/// Looks up the parameters of some parts ("encoder.", …); InputError for the first tensor of another shape.
WeightMatch match_parts(const Pfa& model, const WeightFile& file, const std::vector<std::string>& parts);

/// Loads what was found, and lets the layer norms' eps follow the file.
void load_matched(Pfa& model, const WeightFile& file, const WeightMatch& match);

/// Starts the encoder from pretrained weights, and says what was loaded, skipped and missing.
void load_pretrained_encoder(Pfa& model, const std::filesystem::path& path);

/// The weights to start a backbone from: `path` itself when it is a file or a Hugging Face folder, or what a
/// folder has under the backbone's name: a .pth or .safetensors file or a Hugging Face folder.  InputError
/// that says what to do when there is none.
std::filesystem::path find_pretrained(const std::filesystem::path& path, const std::string& backbone);

}  // namespace scrawl
