#pragma once
// Runs a kernel, a plain function here, for every thread of a grid.
#include <tuple>
#include <type_traits>

#include "kernels/launch_shape.h"
#include "kernels/simt/queue.h"

namespace scrawl::simt {

/// Calls call(arguments) on behalf of every thread of the grid.  Throws std::invalid_argument when the shape
/// breaks a limit, Fault when the kernel breaks a rule.
void run_grid(Queue& queue, const LaunchShape& shape, void (*call)(const void*), const void* arguments);

template <typename... Parameters>
void launch(Queue& queue, const LaunchShape& shape, void (*kernel)(Parameters...),
            std::type_identity_t<Parameters>... arguments) {
  struct Call {
    void (*kernel)(Parameters...);
    std::tuple<Parameters...> arguments;
  };
  const Call call{kernel, {arguments...}};
  run_grid(
      queue, shape,
      [](const void* erased) {
        const auto* c = static_cast<const Call*>(erased);
        std::apply(c->kernel, c->arguments);
      },
      &call);
}

}  // namespace scrawl::simt
