#include "tests/observed/source.h"

#include <link.h>
#include <unistd.h>

#include <cstdio>
#include <sstream>

namespace scrawl::simt {

namespace {

/// How far behind its addresses on file the program was loaded.
uintptr_t load_offset() {
  static const uintptr_t offset = [] {
    uintptr_t first = 0;
    dl_iterate_phdr(
        [](dl_phdr_info* program, size_t, void* result) {
          *static_cast<uintptr_t*>(result) = program->dlpi_addr;
          return 1;  // the program itself comes first
        },
        &first);
    return first;
  }();
  return offset;
}

}  // namespace

uint32_t code_number(const void* code) {
  return static_cast<uint32_t>(reinterpret_cast<uintptr_t>(code) - load_offset());
}

std::string source_of(uint32_t code_number) {
  std::ostringstream command;
  // One less: a return address may be the next line's.
  command << "addr2line --inlines --basenames --exe=/proc/" << getpid() << "/exe 0x" << std::hex
          << code_number - 1;
  FILE* lines = popen(command.str().c_str(), "r");
  if (!lines) return "an unknown place";
  std::string result;
  char line[256];
  while (std::fgets(line, sizeof line, lines)) {
    std::string place = line;
    place = place.substr(0, place.find_first_of(" \n"));
    result += (result.empty() ? "" : " < ") + place;
  }
  pclose(lines);
  return result;
}

}  // namespace scrawl::simt
