#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "engine/device.h"
#include "kernels/dtype.h"

namespace scrawl {

/// One kind of recorded quantity over a whole case: the worst error and what is allowed.
struct ReplayRow {
  std::string quantity;  // "losses", "maps", "prototypes", "bank", "gradients", "final", "trained"
  int compared = 0;      // tensors
  double worst = 0.0;  // ‖got − want‖ / (‖want‖ + 1e-5·√n); infinity when something is missing or not finite
  std::string where{};  // the tensor with the worst error
  double limit = 0.0;
  bool passed() const { return worst <= limit; }
};

struct ReplayResult {
  std::string name;
  std::vector<ReplayRow> rows;
  std::vector<std::string> phase_errors;  // steps that were in another phase than recorded
  bool passed() const;
};

/// Trains a recorded case again, step by step, and compares everything that was recorded: case.json (sizes,
/// optimiser, steps), init.safetensors (the state at the start) and record.safetensors.  Dropout and
/// drop-path are off, as they were in the recording.  With bf16 `storage` only losses are
/// compared, to 2 %.  InputError for files that are missing or do not fit together.
ReplayResult replay(Device& device, const std::filesystem::path& case_dir, DType storage = DType::f32);

}  // namespace scrawl
