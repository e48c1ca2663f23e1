#include "kernels/scratch.h"

#include <algorithm>

namespace scrawl {

AsideMemory::~AsideMemory() {
  for (const Block& block : blocks_) source_.release(block.data);
}

std::byte* AsideMemory::allocate(int64_t bytes) {
  Block* smallest = nullptr;
  for (Block& block : blocks_)
    if (!block.used && block.bytes >= bytes && (!smallest || block.bytes < smallest->bytes))
      smallest = &block;
  if (!smallest) smallest = &blocks_.emplace_back(Block{source_.allocate(bytes), bytes, false});
  smallest->used = true;
  return smallest->data;
}

void AsideMemory::release(std::byte* block) {
  std::ranges::find(blocks_, block, &Block::data)->used = false;
}

}  // namespace scrawl
