#include "kernels/simt/async_copy.h"

#include <algorithm>
#include <cstring>

#include "kernels/simt/block.h"
#include "kernels/simt/check.h"
#include "kernels/simt/observer.h"

namespace scrawl::simt {

void AsyncCopies::start(void* target, const void* source, int bytes, bool valid, std::source_location where,
                        const void* code) {
  check_aligned(target, bytes);
  check_aligned(source, bytes);
  if (!Block::current().shared_memory().contains(target, bytes))
    fail("copies at " + text(where) + " to something else than shared memory");
  std::memset(target, kUnwritten, bytes);
  const Copy copy{target, source, bytes, valid, where, group_, code};
  copy.report();
  copies_.push_back(copy);
}

void AsyncCopies::wait(int newest) {
  const auto under_way = std::find_if(copies_.begin(), copies_.end(),
                                      [&](const Copy& copy) { return copy.group >= group_ - newest; });
  for (auto copy = copies_.begin(); copy != under_way; ++copy) {
    copy->report();
    if (copy->valid)
      std::memcpy(copy->target, copy->source, copy->bytes);
    else
      std::memset(copy->target, 0, copy->bytes);
  }
  copies_.erase(copies_.begin(), under_way);
}

/// It takes from its start to the wait, and both ends are to be in order with what others do.
void AsyncCopies::Copy::report() const {
  if (!observer) return;
  if (valid) observer->access(source, bytes, Access::read, code);
  observer->access(target, bytes, Access::write, code);
}

void AsyncCopies::check_none_open() const {
  if (!copies_.empty())
    fail("ends without having waited for its copy started at " + text(copies_.front().where));
}

void AsyncCopies::clear() {
  copies_.clear();
  group_ = 0;
}

void start_copy(void* shared_target, const void* source, int bytes, bool valid, std::source_location where) {
  Block::current().copies().start(shared_target, source, bytes, valid, where, __builtin_return_address(0));
}

void close_copy_group() {
  Block::current().copies().commit();
}

void wait_for_copies(int newest) {
  Block::current().copies().wait(newest);
}

}  // namespace scrawl::simt
