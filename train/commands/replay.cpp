#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "engine/error.h"
#include "train/commands/commands.h"
#include "train/commands/make_device.h"
#include "train/replay.h"

namespace scrawl {
namespace {

void print_table(const ReplayResult& result) {
  fmt::print("{}\n  {:<12} {:>8} {:>12} {:>10}\n", result.name, "quantity", "compared", "worst error",
             "limit");
  for (const ReplayRow& row : result.rows)
    fmt::print("  {:<12} {:>8} {:>12.2e} {:>10.0e}  {}  {}\n", row.quantity, row.compared, row.worst,
               row.limit, row.passed() ? "ok  " : "FAIL", row.where);
  for (const std::string& error : result.phase_errors) fmt::print("  FAIL {}\n", error);
}

nlohmann::ordered_json to_json(const ReplayResult& result) {
  nlohmann::ordered_json json{{"case", result.name}, {"passed", result.passed()}};
  for (const ReplayRow& row : result.rows)
    json["quantities"][row.quantity] = {{"compared", row.compared},
                                        {"worst", row.worst},
                                        {"where", row.where},
                                        {"limit", row.limit},
                                        {"passed", row.passed()}};
  json["phase_errors"] = result.phase_errors;
  return json;
}

}  // namespace

int replay_command(const ReplayOptions& options) {
  const DType storage = options.precision == "bf16" ? DType::bf16 : DType::f32;
  bool passed = true;
  nlohmann::ordered_json json = nlohmann::ordered_json::array();
  for (const auto& dir : options.cases) {
    Device device(device_options(options.device));
    const ReplayResult result = replay(device, dir, storage);
    passed &= result.passed();
    if (options.json)
      json.push_back(to_json(result));
    else
      print_table(result);
  }
  if (options.json) fmt::print("{}\n", json.dump(2));
  return passed ? 0 : 1;
}

}  // namespace scrawl
