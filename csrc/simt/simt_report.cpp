// Sentences about where the threads of a block stand.
#include <cstdio>
#include <cstring>

#include "simt/simt_state.h"

namespace chordfast {
namespace simt {

std::string place(const Scheduler& s) {
  char text[256];
  std::snprintf(text, sizeof text, "kernel %s, block (%u, %u, %u): ", s.kernel, blockIdx.x, blockIdx.y, blockIdx.z);
  return text;
}

const char* base_name(const char* file) {
  const char* slash = std::strrchr(file, '/');
  return slash ? slash + 1 : file;
}

// "threads 0-31 wait at __syncthreads (x.cu:20); threads 32-63 have returned"
std::string who_waits_where(const Scheduler& s) {
  struct Group {
    std::string what, who;
    unsigned begin, end;
  };
  std::vector<Group> groups;
  auto close = [](Group& g) {
    g.who += (g.who.empty() ? "" : ", ") + std::to_string(g.begin);
    if (g.end > g.begin) g.who += "-" + std::to_string(g.end);
  };
  for (unsigned i = 0; i < s.block_threads; ++i) {
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

}  // namespace simt
}  // namespace chordfast
