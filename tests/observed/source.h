#pragma once
// Instructions of this program, named by numbers of 32 bits.
#include <cstdint>
#include <string>

namespace scrawl::simt {

uint32_t code_number(const void* code);

/// "backward_wgmma.cu:120", with the places that it was inlined from; by addr2line.
std::string source_of(uint32_t code_number);

}  // namespace scrawl::simt
