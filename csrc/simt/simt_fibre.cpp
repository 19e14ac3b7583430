// One fibre per CUDA thread: a stack of its own, kept from block to block.
#include <sys/mman.h>
#include <ucontext.h>

#include "simt/simt_state.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#define CF_START_SWITCH(save, bottom, size) __sanitizer_start_switch_fiber(save, bottom, size)
#define CF_FINISH_SWITCH(save, bottom, size) __sanitizer_finish_switch_fiber(save, bottom, size)
#else
#define CF_START_SWITCH(save, bottom, size) (void)0
#define CF_FINISH_SWITCH(save, bottom, size) (void)0
#endif

namespace chordfast {
namespace simt {

static constexpr size_t stack_bytes = 256 * 1024;
static constexpr size_t page_bytes = 4096;

// Two ways to leave one stack for another: ten instructions on x86-64, setjmp and longjmp (twice the time) elsewhere.
#if defined(__x86_64__) && !defined(CF_SIMT_PORTABLE)

// Saves what a callee must keep on the stack left, and its top in *from; goes on where `to` was left.
__attribute__((naked, noinline)) static void change_stack(void** /*from*/, void* /*to*/) {
  asm("push %rbp\n push %rbx\n push %r12\n push %r13\n push %r14\n push %r15\n"
      "mov %rsp, (%rdi)\n mov %rsi, %rsp\n"
      "pop %r15\n pop %r14\n pop %r13\n pop %r12\n pop %rbx\n pop %rbp\n ret");
}

static void leave(Context& from, Context& to) { change_stack(&from.top, to.top); }

static void enter(Context& from, Context& made, char* stack, size_t size, void (*body)()) {
  void** top = reinterpret_cast<void**>(stack + size) - 1;  // as after a call: 8 bytes off a multiple of 16
  *--top = reinterpret_cast<void*>(body);
  for (int i = 0; i < 6; ++i) *--top = nullptr;
  made.top = top;
  leave(from, made);
}

#else

__attribute__((noinline)) static void leave(Context& from, Context& to) {
  if (!_setjmp(from.registers)) _longjmp(to.registers, 1);
}

__attribute__((noinline)) static void enter(Context& from, Context&, char* stack, size_t size, void (*body)()) {
  if (_setjmp(from.registers)) return;
  ucontext_t start;
  getcontext(&start);
  start.uc_stack.ss_sp = stack;
  start.uc_stack.ss_size = size;
  start.uc_link = nullptr;
  makecontext(&start, body, 0);
  setcontext(&start);
}

#endif

void to_scheduler(Scheduler& s, Thread& t) {
  CF_START_SWITCH(&t.sanitizer, s.sanitizer_bottom, s.sanitizer_size);
  leave(t.context, s.context);
  CF_FINISH_SWITCH(t.sanitizer, nullptr, nullptr);
}

// A fibre outlives its block: when a thread returns, the same fibre serves the same thread of the next block.
static void fibre() {
  Scheduler& s = scheduler();
  CF_FINISH_SWITCH(nullptr, &s.sanitizer_bottom, &s.sanitizer_size);
  Thread& t = *s.current;
  for (;;) {
    try {
      s.body(s.arguments);
    } catch (const std::exception& failure) {
      s.error = failure.what();
    }
    t.state = State::done;
    s.gone[t.number / 32] |= 1u << t.number % 32;
    to_scheduler(s, t);
  }
}

void resume(Scheduler& s, Thread& t) {
  s.current = &t;
  threadIdx = t.index;
  CF_START_SWITCH(&s.sanitizer, t.stack + page_bytes, stack_bytes);
  if (t.born) {
    leave(s.context, t.context);
  } else {
    t.born = true;
    CF_UNPOISON(t.stack + page_bytes, stack_bytes);  // what a dropped fibre left behind
    // Tops at different cache sets: at one page offset the stacks would push each other out of the first level.
    enter(s.context, t.context, t.stack + page_bytes, stack_bytes - t.number % 8 * 512, fibre);
  }
  CF_FINISH_SWITCH(s.sanitizer, nullptr, nullptr);
}

void make_threads(Scheduler& s, unsigned number) {
  while (s.threads.size() < number) {
    auto made = std::make_unique<Thread>();
    void* memory = mmap(nullptr, page_bytes + stack_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    mprotect(memory, page_bytes, PROT_NONE);  // a kernel whose locals overflow faults instead of scribbling
    made->stack = static_cast<char*>(memory);
    made->number = static_cast<unsigned>(s.threads.size());
    s.threads.push_back(std::move(made));
  }
}

}  // namespace simt
}  // namespace chordfast
