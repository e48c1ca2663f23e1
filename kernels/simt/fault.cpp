#include "kernels/simt/fault.h"

#include "kernels/simt/block.h"

namespace scrawl::simt {

void fail(const std::string& what) {
  throw Fault(Block::current().place() + ": " + what);
}

std::string text(const std::source_location& where) {
  return std::string(where.file_name()) + ":" + std::to_string(where.line());
}

}  // namespace scrawl::simt
