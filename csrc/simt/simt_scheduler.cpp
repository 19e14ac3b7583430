// One fibre per CUDA thread. Blocks run one after another; within a block a fibre runs until it waits for others, and the
// schedule says which fibre goes on. Nothing here is fast on purpose or slow on purpose: it is a test vehicle.
#include "simt/simt_scheduler.h"

#include <setjmp.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <chrono>
#include <cstdarg>
#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

#include "simt/simt_host.h"
#include "simt/simt_memory.h"

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
namespace {

constexpr size_t stack_bytes = 256 * 1024;
constexpr size_t page_bytes = 4096;
constexpr unsigned largest_block = 1024;

enum class State : unsigned char { ready, barrier, warp, done };

struct Thread {
  jmp_buf context;
  ucontext_t start;
  char* stack = nullptr;
  bool born = false;
  State state = State::done;
  unsigned number = 0;  // linear index in the block
  uint3 index{};
  Site site{};  // of the barrier or collective it waits at
  Vote vote = Vote::none;
  int predicate = 0;
  WarpCall* call = nullptr;
  void* sanitizer = nullptr;
};

struct Random {  // splitmix64
  uint64_t state;
  uint64_t next() {
    uint64_t z = (state += 0x9e3779b97f4a7c15ull);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
  }
  uint64_t below(uint64_t n) { return next() % n; }
};

struct Scheduler {
  std::mutex one_launch;
  std::vector<std::unique_ptr<Thread>> threads;
  jmp_buf context;
  void* sanitizer = nullptr;
  const void* sanitizer_bottom = nullptr;
  size_t sanitizer_size = 0;
  Thread* current = nullptr;
  unsigned block_threads = 0;
  const char* kernel = "";
  Body body = nullptr;
  void* arguments = nullptr;
  std::string error;
  SharedMemory shared;
  std::map<const void*, size_t> dynamic_limit;
  std::vector<unsigned> ready;  // CF_SIMT_SHUFFLE only
  int order = CF_SIMT_FORWARD;
  uint64_t seed = 0;
  Random random{0};
  int barrier_result = 0;
  cf_simt_counters count{};
};

Scheduler& scheduler() {
  static Scheduler* one = [] {
    auto* made = new Scheduler;  // never destroyed: fibres' stacks live as long as the process
    if (const char* wish = std::getenv("CHORDFAST_SIMT_SCHEDULE")) {
      const std::string text = wish;
      if (text == "reverse") made->order = CF_SIMT_REVERSE;
      if (text.rfind("shuffle", 0) == 0) {
        made->order = CF_SIMT_SHUFFLE;
        if (text.size() > 8) made->seed = std::strtoull(text.c_str() + 8, nullptr, 10);
      }
    }
    return made;
  }();
  return *one;
}

std::string place(const Scheduler& s) {
  char text[256];
  std::snprintf(text, sizeof text, "kernel %s, block (%u, %u, %u): ", s.kernel, blockIdx.x, blockIdx.y, blockIdx.z);
  return text;
}

const char* base_name(const char* file) {
  const char* slash = std::strrchr(file, '/');
  return slash ? slash + 1 : file;
}

// Fibres -------------------------------------------------------------------------------------------------------------

__attribute__((noinline)) void to_scheduler(Scheduler& s, Thread& t) {
  if (_setjmp(t.context)) {
    CF_FINISH_SWITCH(s.current->sanitizer, nullptr, nullptr);
    return;
  }
  CF_START_SWITCH(&t.sanitizer, s.sanitizer_bottom, s.sanitizer_size);
  _longjmp(s.context, 1);
}

// A fibre outlives its block: when a thread returns, the same fibre serves the same thread of the next block.
void fibre() {
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

// Reports ------------------------------------------------------------------------------------------------------------

// "threads 0-31 wait at __syncthreads (x.cu:20); threads 32-63 have returned"
std::string who_waits_where(const Scheduler& s, unsigned first, unsigned last) {
  struct Group {
    std::string what, who;
    unsigned begin, end;
  };
  std::vector<Group> groups;
  auto close = [](Group& g) {
    g.who += (g.who.empty() ? "" : ", ") + std::to_string(g.begin);
    if (g.end > g.begin) g.who += "-" + std::to_string(g.end);
  };
  for (unsigned i = first; i < last; ++i) {
    const Thread& t = *s.threads[i];
    char what[200];
    if (t.state == State::done)
      std::snprintf(what, sizeof what, "returned");
    else if (t.state == State::barrier)
      std::snprintf(what, sizeof what, "wait at __syncthreads (%s:%d)", base_name(t.site.file), t.site.line);
    else if (t.state == State::warp)
      std::snprintf(what, sizeof what, "wait at %s with mask 0x%08x (%s:%d)", t.call->name, t.call->mask,
                    base_name(t.site.file), t.site.line);
    else
      std::snprintf(what, sizeof what, "could go on");
    Group* mine = nullptr;
    for (Group& g : groups)
      if (g.what == what) mine = &g;
    if (!mine) {
      groups.push_back({what, "", i, i});
    } else if (mine->end + 1 == i) {
      mine->end = i;
    } else {
      close(*mine);
      mine->begin = mine->end = i;
    }
  }
  std::string text;
  for (Group& g : groups) {
    close(g);
    text += (text.empty() ? "threads " : "; threads ") + g.who + " " + g.what;
  }
  return text;
}

// No thread can go on and not all have returned: either all are at one barrier, or the kernel is wrong.
void release_barrier(Scheduler& s) {
  const Thread& first = *s.threads[0];
  bool together = true, at_barrier = false;
  for (unsigned i = 0; i < s.block_threads; ++i) {
    const Thread& t = *s.threads[i];
    at_barrier |= t.state == State::barrier;
    together &= t.state == State::barrier && t.site.line == first.site.line && t.vote == first.vote &&
                !std::strcmp(t.site.file, first.site.file);
  }
  if (!together)
    throw std::runtime_error(place(s) + (at_barrier ? "divergent __syncthreads: " : "a warp collective never completes: ") +
                             who_waits_where(s, 0, s.block_threads));
  int votes = 0;
  for (unsigned i = 0; i < s.block_threads; ++i) votes += s.threads[i]->predicate != 0;
  s.barrier_result = first.vote == Vote::all ? votes == static_cast<int>(s.block_threads)
                     : first.vote == Vote::any ? votes != 0
                                               : votes;
  for (unsigned i = 0; i < s.block_threads; ++i) s.threads[i]->state = State::ready;
  ++s.count.barriers;
}

// Schedules ----------------------------------------------------------------------------------------------------------

// Runs a thread until it waits; true when it made an error.
bool step(Scheduler& s, unsigned i) {
  resume(s, *s.threads[i]);
  return !s.error.empty();
}

// Forward or reverse: a warp runs as far as it can before the next one starts, so that it overtakes all it may.
bool run_in_order(Scheduler& s, bool reverse) {
  const unsigned warps = (s.block_threads + 31) / 32;
  for (unsigned w = 0; w < warps; ++w) {
    const unsigned first = 32 * (reverse ? warps - 1 - w : w), last = std::min(first + 32, s.block_threads);
    for (bool moved = true; moved;) {
      moved = false;
      for (unsigned k = first; k < last; ++k) {
        const unsigned i = reverse ? last - 1 - (k - first) : k;
        if (s.threads[i]->state != State::ready) continue;
        moved = true;
        if (step(s, i)) return false;
      }
    }
  }
  return true;
}

bool run_shuffled(Scheduler& s) {
  s.ready.clear();
  for (unsigned i = 0; i < s.block_threads; ++i)
    if (s.threads[i]->state == State::ready) s.ready.push_back(i);
  while (!s.ready.empty()) {
    const size_t k = s.random.below(s.ready.size());
    const unsigned i = s.ready[k];
    s.ready[k] = s.ready.back();
    s.ready.pop_back();
    if (step(s, i)) return false;
  }
  return true;
}

void run_block(Scheduler& s, size_t dynamic_bytes) {
  s.shared.begin(dynamic_bytes);
  for (unsigned i = 0; i < s.block_threads; ++i) s.threads[i]->state = State::ready;
  for (;;) {
    const bool fine = s.order == CF_SIMT_SHUFFLE ? run_shuffled(s) : run_in_order(s, s.order == CF_SIMT_REVERSE);
    if (!fine) throw std::runtime_error(s.error);
    bool finished = true;
    for (unsigned i = 0; i < s.block_threads && finished; ++i) finished = s.threads[i]->state == State::done;
    if (finished) break;
    release_barrier(s);
  }
  const std::string damage = s.shared.end();
  if (!damage.empty()) throw std::runtime_error(place(s) + damage);
}

void check_launch(const Scheduler& s, const void* kernel, dim3 grid, dim3 block, size_t dynamic_bytes) {
  const uint64_t size = static_cast<uint64_t>(block.x) * block.y * block.z;
  const bool grid_fits = grid.x && grid.y && grid.z && grid.x <= 0x7fffffffu && grid.y <= 65535 && grid.z <= 65535;
  if (!grid_fits || !size || size > largest_block || block.z > 64) {
    char text[200];
    std::snprintf(text, sizeof text, "kernel %s: invalid launch of grid (%u, %u, %u), block (%u, %u, %u)", s.kernel, grid.x,
                  grid.y, grid.z, block.x, block.y, block.z);
    throw std::runtime_error(text);
  }
  const auto asked = s.dynamic_limit.find(kernel);
  const size_t limit = asked == s.dynamic_limit.end() ? SharedMemory::usual_limit : asked->second;
  if (dynamic_bytes > limit)
    throw std::runtime_error(std::string("kernel ") + s.kernel + ": " + std::to_string(dynamic_bytes) +
                             " bytes of dynamic shared memory asked for, " + std::to_string(limit) + " allowed");
}

}  // namespace

// What simt_host.h calls ---------------------------------------------------------------------------------------------

void stop(const char* format, ...) {
  char text[512];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  const Scheduler& s = scheduler();
  throw std::runtime_error(place(s) + "thread " + std::to_string(s.current->number) + ": " + text);
}

int barrier(Vote vote, int predicate, Site site) {
  Scheduler& s = scheduler();
  Thread& t = *s.current;
  t.state = State::barrier, t.site = site, t.vote = vote, t.predicate = predicate;
  to_scheduler(s, t);
  return s.barrier_result;
}

unsigned lane() { return scheduler().current->number & 31; }

unsigned live_mask() {
  const Scheduler& s = scheduler();
  const unsigned first = s.current->number & ~31u;
  unsigned mask = 0;
  for (unsigned i = first; i < std::min(first + 32, s.block_threads); ++i)
    mask |= static_cast<unsigned>(s.threads[i]->state != State::done) << (i - first);
  return mask;
}

void warp_collective(WarpCall& call) {
  Scheduler& s = scheduler();
  Thread& t = *s.current;
  const unsigned first = t.number & ~31u;
  if (!(call.mask >> (t.number & 31) & 1))
    stop("%s with mask 0x%08x (%s:%d), which does not name the calling lane %u", call.name, call.mask,
         base_name(call.site.file), call.site.line, t.number & 31);
  t.state = State::warp, t.call = &call, t.site = call.site;
  WarpCall* lanes[32] = {};
  for (unsigned i = 0; i < 32; ++i) {
    if (!(call.mask >> i & 1)) continue;
    const Thread* other = first + i < s.block_threads ? s.threads[first + i].get() : nullptr;
    if (!other || other->state == State::done)
      stop("%s with mask 0x%08x (%s:%d) names lane %u, which %s", call.name, call.mask, base_name(call.site.file),
           call.site.line, i, other ? "has returned" : "does not exist");
    const bool same = other->state == State::warp && other->call->resolve == call.resolve &&
                      other->call->mask == call.mask &&
                      (call.any_site || (other->site.line == call.site.line &&
                                         !std::strcmp(other->site.file, call.site.file)));
    if (!same) return to_scheduler(s, t);  // the last one to arrive serves all
    lanes[i] = other->call;
  }
  call.resolve(lanes, call.mask);
  ++s.count.collectives;
  for (unsigned i = 0; i < 32; ++i) {
    if (!(call.mask >> i & 1)) continue;
    s.threads[first + i]->state = State::ready;
    if (s.order == CF_SIMT_SHUFFLE && first + i != t.number) s.ready.push_back(first + i);
  }
}

void* shared_array(const void* tag, const char* name, size_t bytes) {
  return scheduler().shared.array(tag, name, bytes);
}

void* dynamic_shared() { return scheduler().shared.dynamic(); }

void allow_dynamic_shared(const void* kernel, size_t bytes) {
  Scheduler& s = scheduler();
  std::lock_guard<std::mutex> lock(s.one_launch);
  s.dynamic_limit[kernel] = bytes;
}

void run(const char* kernel, const void* address, dim3 grid, dim3 block, size_t dynamic_bytes, Body body, void* arguments) {
  Scheduler& s = scheduler();
  std::lock_guard<std::mutex> lock(s.one_launch);
  const auto begin = std::chrono::steady_clock::now();
  s.kernel = kernel, s.body = body, s.arguments = arguments;
  check_launch(s, address, grid, block, dynamic_bytes);
  gridDim = grid, blockDim = block;
  s.block_threads = block.x * block.y * block.z;
  make_threads(s, s.block_threads);
  for (unsigned i = 0; i < s.block_threads; ++i)
    s.threads[i]->index = {i % block.x, i / block.x % block.y, i / block.x / block.y};
  s.random.state = s.seed;
  s.error.clear();
  const uint64_t blocks = static_cast<uint64_t>(grid.x) * grid.y * grid.z;
  std::vector<uint64_t> order;
  if (s.order == CF_SIMT_SHUFFLE) {
    for (uint64_t b = 0; b < blocks; ++b) order.push_back(b);
    for (uint64_t b = blocks; b > 1; --b) std::swap(order[b - 1], order[s.random.below(b)]);
  }
  try {
    for (uint64_t k = 0; k < blocks; ++k) {
      const uint64_t b = order.empty() ? (s.order == CF_SIMT_REVERSE ? blocks - 1 - k : k) : order[k];
      blockIdx = {static_cast<unsigned>(b % grid.x), static_cast<unsigned>(b / grid.x % grid.y),
                  static_cast<unsigned>(b / grid.x / grid.y)};
      run_block(s, dynamic_bytes);
    }
  } catch (...) {
    for (auto& t : s.threads) t->born = false;  // waiting fibres are dropped where they stand
    s.shared.drop();
    throw;
  }
  ++s.count.launches;
  s.count.blocks += static_cast<int64_t>(blocks);
  s.count.threads += static_cast<int64_t>(blocks * s.block_threads);
  s.count.seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

}  // namespace simt
}  // namespace chordfast

extern "C" void cf_simt_set_schedule(int order, uint64_t seed) {
  auto& s = chordfast::simt::scheduler();
  std::lock_guard<std::mutex> lock(s.one_launch);
  s.order = order, s.seed = seed;
}

extern "C" void cf_simt_get_schedule(int* order, uint64_t* seed) {
  *order = chordfast::simt::scheduler().order;
  *seed = chordfast::simt::scheduler().seed;
}

extern "C" cf_simt_counters cf_simt_count(void) { return chordfast::simt::scheduler().count; }
