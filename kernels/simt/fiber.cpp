#include "fiber.h"

#include <cstdint>
#include <cstdlib>

#ifdef GATUN_TSAN
#include <sanitizer/tsan_interface.h>
#endif
#ifdef GATUN_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

/* Saves what a called function must preserve on the stack, *save = stack pointer, and continues on `load`. */
extern "C" void gatun_simt_switch(void **save, void *load);
extern "C" void gatun_simt_entry();

#if defined(__x86_64__)
asm(R"(
.text
.hidden gatun_simt_switch
.globl gatun_simt_switch
.type gatun_simt_switch, @function
gatun_simt_switch:
  endbr64
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size gatun_simt_switch, . - gatun_simt_switch

.hidden gatun_simt_entry
.globl gatun_simt_entry
.type gatun_simt_entry, @function
gatun_simt_entry:
  movq %r12, %rdi
  call *%rbx
  ud2
.size gatun_simt_entry, . - gatun_simt_entry
.section .note.GNU-stack, "", @progbits
.text
)");
#elif defined(__aarch64__)
asm(R"(
.text
.hidden gatun_simt_switch
.globl gatun_simt_switch
.type gatun_simt_switch, %function
gatun_simt_switch:
  sub sp, sp, #160
  stp x19, x20, [sp, #0]
  stp x21, x22, [sp, #16]
  stp x23, x24, [sp, #32]
  stp x25, x26, [sp, #48]
  stp x27, x28, [sp, #64]
  stp x29, x30, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  mov x9, sp
  str x9, [x0]
  mov sp, x1
  ldp x19, x20, [sp, #0]
  ldp x21, x22, [sp, #16]
  ldp x23, x24, [sp, #32]
  ldp x25, x26, [sp, #48]
  ldp x27, x28, [sp, #64]
  ldp x29, x30, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  add sp, sp, #160
  ret
.size gatun_simt_switch, . - gatun_simt_switch

.hidden gatun_simt_entry
.globl gatun_simt_entry
.type gatun_simt_entry, %function
gatun_simt_entry:
  mov x0, x20
  blr x19
  brk #0
.size gatun_simt_entry, . - gatun_simt_entry
.section .note.GNU-stack, "", %progbits
.text
)");
#else
#error "the SIMT emulation switches stacks on x86-64 and aarch64"
#endif

namespace gatun::simt {

void Fiber::prepare(void *memory, size_t bytes, void (*entry)(void *), void *argument) {
  memory_ = memory;
  bytes_ = bytes;
  auto *top = reinterpret_cast<void **>((reinterpret_cast<uintptr_t>(memory) + bytes) & ~uintptr_t{63});
#if defined(__x86_64__)
  top -= 2; /* at entry the stack pointer is a multiple of 16 once the return address is popped */
  *--top = reinterpret_cast<void *>(gatun_simt_entry);
  *--top = nullptr;                         /* rbp */
  *--top = reinterpret_cast<void *>(entry); /* rbx */
  *--top = argument;                        /* r12 */
  *--top = nullptr;                         /* r13 */
  *--top = nullptr;                         /* r14 */
  *--top = nullptr;                         /* r15 */
#else
  top -= 20;
  for (int i = 0; i < 20; ++i) top[i] = nullptr;
  top[0] = reinterpret_cast<void *>(entry);             /* x19 */
  top[1] = argument;                                    /* x20 */
  top[11] = reinterpret_cast<void *>(gatun_simt_entry); /* x30 */
#endif
  stack_pointer_ = top;
#ifdef GATUN_TSAN
  fiber_ = __tsan_create_fiber(0);
#endif
#ifdef GATUN_ASAN
  __asan_unpoison_memory_region(memory, bytes);
  fake_stack_ = nullptr;
#endif
}

void Fiber::resume() {
#ifdef GATUN_TSAN
  resumer_fiber_ = __tsan_get_current_fiber();
  __tsan_switch_to_fiber(fiber_, __tsan_switch_to_fiber_no_sync);
#endif
#ifdef GATUN_ASAN
  void *own_fake_stack = nullptr;
  __sanitizer_start_switch_fiber(&own_fake_stack, memory_, bytes_);
#endif
  gatun_simt_switch(&resumer_stack_pointer_, stack_pointer_);
#ifdef GATUN_ASAN
  __sanitizer_finish_switch_fiber(own_fake_stack, nullptr, nullptr);
#endif
}

void Fiber::entered() {
#ifdef GATUN_ASAN
  __sanitizer_finish_switch_fiber(fake_stack_, &resumer_stack_, &resumer_stack_bytes_);
#endif
}

void Fiber::yield() {
#ifdef GATUN_TSAN
  __tsan_switch_to_fiber(resumer_fiber_, __tsan_switch_to_fiber_no_sync);
#endif
#ifdef GATUN_ASAN
  __sanitizer_start_switch_fiber(&fake_stack_, resumer_stack_, resumer_stack_bytes_);
#endif
  gatun_simt_switch(&stack_pointer_, resumer_stack_pointer_);
  entered();
}

void Fiber::leave() {
#ifdef GATUN_TSAN
  __tsan_switch_to_fiber(resumer_fiber_, __tsan_switch_to_fiber_no_sync);
  __tsan_destroy_fiber(fiber_);
#endif
#ifdef GATUN_ASAN
  __sanitizer_start_switch_fiber(nullptr, resumer_stack_, resumer_stack_bytes_);
#endif
  gatun_simt_switch(&stack_pointer_, resumer_stack_pointer_);
  std::abort();
}

}  // namespace gatun::simt
