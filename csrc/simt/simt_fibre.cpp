// One fibre per CUDA thread: a stack of its own, entered by makecontext, switched by setjmp and longjmp.
#include <sys/mman.h>

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

__attribute__((noinline)) void to_scheduler(Scheduler& s, Thread& t) {
  if (_setjmp(t.context)) {
    CF_FINISH_SWITCH(s.current->sanitizer, nullptr, nullptr);
    return;
  }
  CF_START_SWITCH(&t.sanitizer, s.sanitizer_bottom, s.sanitizer_size);
  _longjmp(s.context, 1);
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
      if (s.error.empty()) s.error = failure.what();
    }
    t.state = State::done;
    to_scheduler(s, t);
  }
}

__attribute__((noinline)) void resume(Scheduler& s, Thread& t) {
  s.current = &t;
  threadIdx = t.index;
  if (_setjmp(s.context)) {
    CF_FINISH_SWITCH(s.sanitizer, nullptr, nullptr);
    return;
  }
  CF_START_SWITCH(&s.sanitizer, t.stack + page_bytes, stack_bytes);
  if (t.born) _longjmp(t.context, 1);
  t.born = true;
  getcontext(&t.start);
  t.start.uc_stack.ss_sp = t.stack + page_bytes;
  t.start.uc_stack.ss_size = stack_bytes;
  t.start.uc_link = nullptr;
  makecontext(&t.start, fibre, 0);
  setcontext(&t.start);
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
