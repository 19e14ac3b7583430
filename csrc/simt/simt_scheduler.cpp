// Blocks run one after another; within a block a fibre runs until it waits for others, and the schedule says which
// fibre goes on. Nothing here aims at speed for its own sake: it is a test vehicle.
#include "simt/simt_scheduler.h"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>

#include "simt/simt_state.h"

namespace chordfast {
namespace simt {

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

namespace {

// No thread can go on and not all have returned: either all are at one barrier, or the kernel is wrong.
void release_barrier(Scheduler& s) {
  const Thread& first = *s.threads[0];
  bool together = true, at_warp = false;
  for (unsigned i = 0; i < s.block_threads; ++i) {
    const Thread& t = *s.threads[i];
    at_warp |= t.state == State::warp;
    together &= t.state == State::barrier && t.site.line == first.site.line && t.vote == first.vote &&
                !std::strcmp(t.site.file, first.site.file);
  }
  if (!together)
    throw std::runtime_error(place(s) +
                             (at_warp ? "a warp collective never completes: " : "divergent __syncthreads: ") +
                             who_waits_where(s));
  int votes = 0;
  for (unsigned i = 0; i < s.block_threads; ++i) votes += s.threads[i]->predicate != 0;
  s.barrier_result = first.vote == Vote::all   ? votes == static_cast<int>(s.block_threads)
                     : first.vote == Vote::any ? votes != 0
                                               : votes;
  for (unsigned i = 0; i < s.block_threads; ++i) s.threads[i]->state = State::ready;
  ++s.count.barriers;
}

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
  for (unsigned w = 0; w < 32; ++w) {
    const unsigned lanes = std::min(s.block_threads - std::min(s.block_threads, 32 * w), 32u);
    s.waiting[w] = 0;
    s.gone[w] = lanes == 32 ? 0 : ~0u << lanes;
  }
  for (unsigned i = 0; i < s.block_threads; ++i) {
    s.threads[i]->state = State::ready;
    s.threads[i]->copies.clear();
    s.threads[i]->group = 0;
  }
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
  if (!grid_fits || !size || size > 1024 || block.z > 64) {
    char text[200];
    std::snprintf(text, sizeof text, "kernel %s: invalid launch of grid (%u, %u, %u), block (%u, %u, %u)", s.kernel,
                  grid.x, grid.y, grid.z, block.x, block.y, block.z);
    throw std::runtime_error(text);
  }
  const auto asked = s.dynamic_limit.find(kernel);
  const size_t limit = asked == s.dynamic_limit.end() ? SharedMemory::usual_limit : asked->second;
  if (dynamic_bytes > limit)
    throw std::runtime_error(std::string("kernel ") + s.kernel + ": " + std::to_string(dynamic_bytes) +
                             " bytes of dynamic shared memory asked for, " + std::to_string(limit) + " allowed");
}

}  // namespace

void run(const char* kernel, const void* address, dim3 grid, dim3 block, size_t dynamic_bytes, Body body,
         void* arguments) {
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

extern "C" int cf_simt_sanitized(void) {
#if defined(__SANITIZE_ADDRESS__)
  return 1;
#else
  return 0;
#endif
}
