#pragma once
#include <string>
#include <vector>

namespace scrawl {

/// Files made to take as much memory as a reader gives for each byte, large enough to tell.
std::vector<std::string> greedy_inputs(const std::string& target);

}  // namespace scrawl
