// What the scheduler knows of every CUDA thread of the block that runs; shared by simt_*.cpp.
#pragma once

#include <setjmp.h>

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "simt/simt_host.h"
#include "simt/simt_memory.h"
#include "simt/simt_scheduler.h"

namespace chordfast {
namespace simt {

struct Context {  // of a stack that waits for its turn; see simt_fibre.cpp
  void* top = nullptr;
  jmp_buf registers;
};

struct Copy {  // a cp.async under way
  void* shared;
  const void* global;
  int bytes, valid;
  int64_t group;
};

enum class State : unsigned char { ready, barrier, warp, done };

struct Thread {
  Context context;
  char* stack = nullptr;
  bool born = false;
  State state = State::done;
  unsigned number = 0;  // linear index in the block
  uint3 index{};
  Site site{};  // of the barrier or collective it waits at
  Vote vote = Vote::none;
  int predicate = 0;
  WarpCall* call = nullptr;
  std::vector<Copy> copies;
  int64_t group = 0;  // of the copies not yet committed
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
  Context context;
  void* sanitizer = nullptr;
  const void* sanitizer_bottom = nullptr;
  size_t sanitizer_size = 0;
  Thread* current = nullptr;
  unsigned block_threads = 0;
  unsigned waiting[32] = {}, gone[32] = {};  // by warp: lanes at a collective; lanes that returned or never existed
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

Scheduler& scheduler();

// simt_fibre.cpp
void make_threads(Scheduler& s, unsigned number);
void resume(Scheduler& s, Thread& t);        // runs a thread until it waits or returns
void to_scheduler(Scheduler& s, Thread& t);  // the way back, called on the thread's own stack

// simt_report.cpp
std::string place(const Scheduler& s);  // "kernel f, block (0, 0, 0): "
const char* base_name(const char* file);
std::string who_waits_where(const Scheduler& s);

}  // namespace simt
}  // namespace chordfast
