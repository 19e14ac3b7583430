// What the CUDA built-ins of simt_host.h, mma.cuh and cp_async.cuh do; called on the stack of the thread that uses
// them.
#include <cstdarg>
#include <cstdio>
#include <stdexcept>

#include "common/cp_async.cuh"
#include "simt/simt_state.h"

namespace chordfast {
namespace simt {

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
  return ~s.gone[s.current->number / 32];
}

static bool same_call(const WarpCall& a, const WarpCall& b) {
  if (a.resolve != b.resolve || a.mask != b.mask) return false;
  if (a.any_site) return true;
  return a.site.line == b.site.line && (a.site.file == b.site.file || !std::strcmp(a.site.file, b.site.file));
}

void warp_collective(WarpCall& call) {
  Scheduler& s = scheduler();
  Thread& t = *s.current;
  const unsigned warp = t.number / 32, own = t.number % 32;
  if (!(call.mask >> own & 1))
    stop("%s with mask 0x%08x (%s:%d), which does not name the calling lane %u", call.name, call.mask,
         base_name(call.site.file), call.site.line, own);
  if (const unsigned gone = call.mask & s.gone[warp]) {
    const unsigned lane = static_cast<unsigned>(__builtin_ctz(gone));
    stop("%s with mask 0x%08x (%s:%d) names lane %u, which %s", call.name, call.mask, base_name(call.site.file),
         call.site.line, lane, 32 * warp + lane < s.block_threads ? "has returned" : "does not exist");
  }
  t.state = State::warp, t.call = &call, t.site = call.site;
  s.waiting[warp] |= 1u << own;
  if (call.mask & ~s.waiting[warp]) return to_scheduler(s, t);  // the last one to arrive serves all
  WarpCall* lanes[32] = {};
  for (unsigned i = 0; i < 32; ++i) {
    if (!(call.mask >> i & 1)) continue;
    lanes[i] = s.threads[32 * warp + i]->call;
    if (!same_call(*lanes[i], call)) return to_scheduler(s, t);
  }
  call.resolve(lanes, call.mask);
  ++s.count.collectives;
  s.waiting[warp] &= ~call.mask;
  for (unsigned i = 0; i < 32; ++i) {
    if (!(call.mask >> i & 1)) continue;
    s.threads[32 * warp + i]->state = State::ready;
    if (s.order == CF_SIMT_SHUFFLE && i != own) s.ready.push_back(32 * warp + i);
  }
}

void* shared_array(const void* tag, const char* name, size_t bytes) {
  return scheduler().shared.array(tag, name, bytes);
}

void* dynamic_shared() { return scheduler().shared.dynamic(); }

static void perform(const Copy& copy) {
  std::memcpy(copy.shared, copy.global, copy.valid);
  std::memset(static_cast<char*>(copy.shared) + copy.valid, 0, copy.bytes - copy.valid);
}

void copy_async(void* shared, const void* global, int bytes, int valid, Site site) {
  Scheduler& s = scheduler();
  if ((reinterpret_cast<uintptr_t>(shared) | reinterpret_cast<uintptr_t>(global)) % bytes)
    stop("cp.async (%s:%d): an address is not aligned to %d bytes", base_name(site.file), site.line, bytes);
  if (valid < 0 || valid > bytes)
    stop("cp.async (%s:%d): %d of %d bytes", base_name(site.file), site.line, valid, bytes);
  if (!s.shared.holds(shared, bytes))
    stop("cp.async (%s:%d): the destination is not in shared memory", base_name(site.file), site.line);
  const Copy copy{shared, global, bytes, valid, s.current->group};
  // Early or late, both are allowed; in the shuffled order chance decides.
  if (s.order == CF_SIMT_REVERSE || (s.order == CF_SIMT_SHUFFLE && s.random.below(2))) return perform(copy);
  s.current->copies.push_back(copy);
}

void commit_copies() { ++scheduler().current->group; }

void wait_copies(int newest_left) {
  Thread& t = *scheduler().current;
  size_t done = 0;
  while (done < t.copies.size() && t.copies[done].group < t.group - newest_left) perform(t.copies[done++]);
  t.copies.erase(t.copies.begin(), t.copies.begin() + static_cast<ptrdiff_t>(done));
}

void allow_dynamic_shared(const void* kernel, size_t bytes) {
  Scheduler& s = scheduler();
  std::lock_guard<std::mutex> lock(s.one_launch);
  if (bytes > SharedMemory::largest_limit)
    throw std::runtime_error("allow_dynamic_shared: " + std::to_string(bytes) + " bytes do not fit");
  s.dynamic_limit[kernel] = bytes;
}

}  // namespace simt
}  // namespace chordfast
