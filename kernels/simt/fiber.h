#pragma once
// A fiber is a stack of its own on which a function can stop in the middle and go on later, all on one
// thread of the operating system: switching is a dozen instructions that exchange registers and stack
// pointer.  Each thread of a simulated block that waits for others is a stopped fiber.
#include <boost/context/fiber.hpp>
#include <cstddef>

namespace scrawl::simt {

class Fiber {
 public:
  Fiber();
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  /// Runs work(context) here until it returns or suspends.  The fiber must be idle.
  void start(void (*work)(void*), void* context);
  /// Continues behind suspend(), until the work returns or suspends again.
  void resume();
  /// Called by the work itself: goes back to whoever started or resumed it.
  void suspend();
  /// Ends suspended work by an exception, so that its stack is unwound.
  void abandon();
  bool idle() const { return work_ == nullptr; }

 private:
  struct Abandoned {};
  void loop();
  void enter();
  void leave();

  void (*work_)(void*) = nullptr;
  void* context_ = nullptr;
  bool abandoned_ = false, finished_ = false;
  boost::context::fiber fiber_, caller_;
  // The address sanitizer must know which stack is in use.
  void* caller_fake_stack_ = nullptr;
  const void* caller_stack_ = nullptr;
  size_t caller_stack_size_ = 0;
  const void* stack_ = nullptr;
  size_t stack_size_ = 0;
};

}  // namespace scrawl::simt
