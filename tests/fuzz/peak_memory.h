#pragma once
#include <cstddef>
#include <functional>

namespace scrawl {

/// The most bytes that `work` held at one time, whoever allocated them (libraries, too); 0 in builds without
/// the address sanitizer, whose hooks count them.
size_t peak_memory(const std::function<void()>& work);

}  // namespace scrawl
