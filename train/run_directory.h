#pragma once
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace scrawl {

/// What a run writes, all in one folder:
///   config.yaml           the effective configuration; trains the same again
///   history.jsonl         one line an epoch: phase, losses, learning rate, speed, scores
///   last.safetensors      to resume from
///   best_<prediction>.safetensors
///   result.json, contact_sheet.png   at the end
struct RunDirectory {
  std::filesystem::path path;

  std::filesystem::path config() const { return path / "config.yaml"; }
  std::filesystem::path history() const { return path / "history.jsonl"; }
  std::filesystem::path last() const { return path / "last.safetensors"; }
  std::filesystem::path best(std::string_view prediction) const {
    return path / ("best_" + std::string(prediction) + ".safetensors");
  }
  std::filesystem::path result() const { return path / "result.json"; }
  std::filesystem::path contact_sheet() const { return path / "contact_sheet.png"; }

  /// All of them, whether they are there or not.
  std::vector<std::filesystem::path> files() const {
    return {config(),      history(),      last(),   best("without"),
            best("local"), best("global"), result(), contact_sheet()};
  }
};

}  // namespace scrawl
