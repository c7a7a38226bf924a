/*
 * fiber.h: a call stack of its own, and switching between such stacks without the kernel's help.
 */
#ifndef GATUN_FIBER_H
#define GATUN_FIBER_H

#include <cstddef>

#if defined(__SANITIZE_THREAD__)
#define GATUN_TSAN 1
#endif
#if defined(__SANITIZE_ADDRESS__)
#define GATUN_ASAN 1
#endif

namespace gatun::simt {

class Fiber {
 public:
  Fiber() = default;
  Fiber(const Fiber &) = delete;
  Fiber &operator=(const Fiber &) = delete;

  /** Prepares entry(argument), which must end with leave(), on the stack [memory, memory + bytes). */
  void prepare(void *memory, size_t bytes, void (*entry)(void *), void *argument);

  /** Runs the fiber, from the thread's own stack, until it calls yield() or leave(). */
  void resume();

  /** Back to whoever resumed this fiber. */
  void yield();

  /** The same for the last time. */
  [[noreturn]] void leave();

  /** To be called first by entry. */
  void entered();

 private:
  void *stack_pointer_ = nullptr;
  void *resumer_stack_pointer_ = nullptr;
  void *memory_ = nullptr;
  size_t bytes_ = 0;
  void *resumer_fiber_ = nullptr; /* ThreadSanitizer's */
  void *fiber_ = nullptr;
  const void *resumer_stack_ = nullptr; /* AddressSanitizer's */
  size_t resumer_stack_bytes_ = 0;
  void *fake_stack_ = nullptr;
};

}  // namespace gatun::simt

#endif
