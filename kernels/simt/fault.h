#pragma once
#include <source_location>
#include <stdexcept>
#include <string>

namespace scrawl::simt {

/// A kernel broke a rule of CUDA.  The message names kernel, block, thread, place and rule.
struct Fault : std::logic_error {
  using std::logic_error::logic_error;
};

/// Throws a Fault on behalf of the running thread; `what` says what it did.
[[noreturn]] void fail(const std::string& what);

/// "kernels/cuda/relu.cu:17"
std::string text(const std::source_location& where);

}  // namespace scrawl::simt
