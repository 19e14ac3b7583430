#include "common/cpu_features.h"

#include <cstdlib>
#include <cstring>

namespace chordfast {

static Simd detect() {
  Simd best = Simd::plain;
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) best = Simd::avx2;
  if (best == Simd::avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw"))
    best = Simd::avx512;
#endif
  if (const char* wish = std::getenv("CHORDFAST_SIMD")) {
    Simd asked = best;
    if (!std::strcmp(wish, "plain")) asked = Simd::plain;
    if (!std::strcmp(wish, "avx2")) asked = Simd::avx2;
    if (static_cast<int>(asked) < static_cast<int>(best)) best = asked;
  }
  return best;
}

Simd simd_level() {
  static const Simd level = detect();
  return level;
}

const char* simd_name(Simd level) { return level == Simd::avx512 ? "avx512" : level == Simd::avx2 ? "avx2" : "plain"; }

}  // namespace chordfast
