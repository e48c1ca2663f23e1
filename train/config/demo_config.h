#pragma once

namespace scrawl {

/// configs/demo.yaml, built in, so that the demo needs no file beside the binary.
extern const char* const kDemoConfig;

}  // namespace scrawl
