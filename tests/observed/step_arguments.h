#pragma once
#include <fmt/format.h>

#include <cstdlib>
#include <string_view>

#include "train/bench/step_benchmark.h"

namespace scrawl {

/// One step of what a command line asks for: CROP BATCH fp32|bf16.  Ends the program where it asks otherwise.
inline StepSettings step_of(int argc, char** argv) {
  const std::string_view storage = argc == 4 ? argv[3] : "";
  if (storage != "fp32" && storage != "bf16") {
    fmt::print(stderr, "usage: {} CROP BATCH fp32|bf16\n", argv[0]);
    std::exit(2);
  }
  const StepSettings settings{.crop = std::atoi(argv[1]),
                              .batch = std::atoi(argv[2]),
                              .storage = storage == "bf16" ? DType::bf16 : DType::f32,
                              .warmup = 1,
                              .steps = 1};
  check(settings);
  return settings;
}

}  // namespace scrawl
