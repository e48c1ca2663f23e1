#include "kernels/simt/fiber.h"

#include <boost/context/protected_fixedsize_stack.hpp>
#include <memory>
#include <utility>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace scrawl::simt {

namespace {

#ifdef __SANITIZE_ADDRESS__
constexpr size_t kStackBytes = 512 * 1024;  // its frames are larger

void start_switch(void** fake_stack, const void* stack, size_t size) {
  __sanitizer_start_switch_fiber(fake_stack, stack, size);
}
void finish_switch(void* fake_stack, const void** stack, size_t* size) {
  __sanitizer_finish_switch_fiber(fake_stack, stack, size);
}
/// Marks of frames would outlive a stack, and stop whoever gets its memory next: another fiber, or a thread
/// whose own variables come to lie there.
void clear_marks(const void* stack, size_t size) {
  ASAN_UNPOISON_MEMORY_REGION(stack, size);
}
#else
constexpr size_t kStackBytes = 128 * 1024;

void start_switch(void**, const void*, size_t) {}
void finish_switch(void*, const void**, size_t*) {}
void clear_marks(const void*, size_t) {}
#endif

using ProtectedStacks = boost::context::protected_fixedsize_stack;
/// A page below each faults on overflow.  Marks go ahead of the memory, which another thread may get at once.
struct Stacks : ProtectedStacks {
  Stacks() : ProtectedStacks(kStackBytes) {}
  void deallocate(boost::context::stack_context& stack) noexcept {
    clear_marks(static_cast<char*>(stack.sp) - stack.size, stack.size);
    ProtectedStacks::deallocate(stack);
  }
};

}  // namespace

Fiber::Fiber() {
  Stacks allocator;
  const boost::context::stack_context stack = allocator.allocate();
  stack_ = static_cast<char*>(stack.sp) - stack.size;
  stack_size_ = stack.size;
  clear_marks(stack_, stack_size_);
  // Stacks start on a page: without a shift, the frames of all fibers would share the same few cache sets.
  static thread_local size_t number = 0;
  const size_t shift = number++ % 61 * 192;
  char* top = static_cast<char*>(stack.sp) - shift;
  fiber_ =
      boost::context::fiber(std::allocator_arg, boost::context::preallocated(top, stack.size - shift, stack),
                            allocator, [this](boost::context::fiber&& caller) {
                              caller_ = std::move(caller);
                              finish_switch(nullptr, &caller_stack_, &caller_stack_size_);
                              loop();
                              start_switch(nullptr, caller_stack_, caller_stack_size_);
                              return std::move(caller_);
                            });
}

Fiber::~Fiber() {
  if (!idle()) abandon();
  finished_ = true;
  enter();
}

void Fiber::loop() {
  while (!finished_) {
    if (work_) {
      try {
        work_(context_);
      } catch (const Abandoned&) {
      }
      work_ = nullptr;
    }
    leave();
  }
}

void Fiber::enter() {
  start_switch(&caller_fake_stack_, stack_, stack_size_);
  fiber_ = std::move(fiber_).resume();
  finish_switch(caller_fake_stack_, nullptr, nullptr);
}

void Fiber::leave() {
  void* fake_stack = nullptr;
  start_switch(&fake_stack, caller_stack_, caller_stack_size_);
  caller_ = std::move(caller_).resume();
  finish_switch(fake_stack, &caller_stack_, &caller_stack_size_);
}

void Fiber::start(void (*work)(void*), void* context) {
  work_ = work;
  context_ = context;
  enter();
}

void Fiber::resume() {
  enter();
}

void Fiber::suspend() {
  leave();
  if (abandoned_) throw Abandoned{};
}

void Fiber::abandon() {
  abandoned_ = true;
  enter();
  abandoned_ = false;
}

}  // namespace scrawl::simt
