// CUDA's built-ins on the host compiler: variables, barriers, warp collectives, shared memory, launches. Scheduling is
// in simt_scheduler.cpp, arithmetic and atomics in simt_math.h.
#pragma once

#ifndef CF_SIMT
#error "simt_host.h is for the host reading only; include simt/simt.h"
#endif

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime_api.h>

#include <cstdint>
#include <cstring>
#include <tuple>
#include <type_traits>
#include <utility>

#undef __launch_bounds__
#define __launch_bounds__(...)

inline constexpr int warpSize = 32;

namespace chordfast {
namespace simt {

struct Site {
  const char* file;
  int line;
};

enum class Vote : int { none, count, all, any };

// A warp collective in flight. Each lane posts its call; when all lanes of the mask have, `resolve` sees them all.
struct WarpCall {
  const char* name;
  unsigned mask;
  Site site;
  bool any_site;  // __syncwarp may be reached from different places, the others may not
  const void* in;
  void* out;
  void (*resolve)(WarpCall* const* lanes, unsigned mask);
};

using Body = void (*)(void* arguments);

int barrier(Vote vote, int predicate, Site site);
void warp_collective(WarpCall& call);
unsigned lane();
unsigned live_mask();  // lanes of the own warp that have not returned
void* shared_array(const void* tag, const char* name, size_t bytes);
void* dynamic_shared();
void run(const char* kernel, const void* address, dim3 grid, dim3 block, size_t dynamic_bytes, Body body,
         void* arguments);
void allow_dynamic_shared(const void* kernel, size_t bytes);
[[noreturn]] void stop(const char* format, ...) __attribute__((format(printf, 1, 2)));

// Every lane of `mask` gives an In and gets an Out; `body(in, out, mask)` runs once, with pointers for all lanes.
template <class In, class Out, void (*Body)(const In* const*, Out* const*, unsigned)>
Out warp_exchange(const char* name, unsigned mask, const In& in, Site site, bool any_site = false) {
  static_assert(std::is_trivially_copyable<In>::value && std::is_trivially_copyable<Out>::value, "plain data only");
  Out out;
  WarpCall call{name, mask, site, any_site, &in, &out, [](WarpCall* const* lanes, unsigned lanes_mask) {
                  const In* ins[32] = {};
                  Out* outs[32] = {};
                  for (int i = 0; i < 32; ++i)
                    if (lanes_mask >> i & 1) {
                      ins[i] = static_cast<const In*>(lanes[i]->in);
                      outs[i] = static_cast<Out*>(lanes[i]->out);
                    }
                  Body(ins, outs, lanes_mask);
                }};
  warp_collective(call);
  return out;
}

template <class... Parameters, class... Arguments>
void launch(const char* name, void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t dynamic_bytes, void*,
            Arguments&&... arguments) {
  struct Call {
    void (*kernel)(Parameters...);
    std::tuple<Parameters...> arguments;
  } call{kernel, std::tuple<Parameters...>(std::forward<Arguments>(arguments)...)};
  run(
      name, reinterpret_cast<const void*>(kernel), grid, block, dynamic_bytes,
      [](void* opaque) {
        auto& held = *static_cast<Call*>(opaque);
        std::apply(held.kernel, held.arguments);  // copies the parameters, as each CUDA thread has its own
      },
      &call);
}

}  // namespace simt
}  // namespace chordfast

// Variables, not macros: CUDA's headers have parameters of these names.
inline uint3 threadIdx{}, blockIdx{};
inline dim3 blockDim, gridDim;

#define CF_LAUNCH(kernel, grid, block, dynamic_bytes, stream, ...) \
  ::chordfast::simt::launch(#kernel, kernel, grid, block, dynamic_bytes, stream, ##__VA_ARGS__)
#define CF_SHARED(type, name, count)      \
  static const char name##_cf_shared = 0; \
  type(&name)[count] =                    \
      *static_cast<type(*)[count]>(::chordfast::simt::shared_array(&name##_cf_shared, #name, sizeof(type) * (count)))
#define CF_DYN_SHARED(type, name) type* const name = static_cast<type*>(::chordfast::simt::dynamic_shared())

#define CF_SIMT_SITE const char *cf_file = __builtin_FILE(), int cf_line = __builtin_LINE()
#define CF_SIMT_HERE (::chordfast::simt::Site{cf_file, cf_line})

inline void __syncthreads(CF_SIMT_SITE) { ::chordfast::simt::barrier(::chordfast::simt::Vote::none, 0, CF_SIMT_HERE); }
inline int __syncthreads_count(int predicate, CF_SIMT_SITE) {
  return ::chordfast::simt::barrier(::chordfast::simt::Vote::count, predicate, CF_SIMT_HERE);
}
inline int __syncthreads_and(int predicate, CF_SIMT_SITE) {
  return ::chordfast::simt::barrier(::chordfast::simt::Vote::all, predicate, CF_SIMT_HERE);
}
inline int __syncthreads_or(int predicate, CF_SIMT_SITE) {
  return ::chordfast::simt::barrier(::chordfast::simt::Vote::any, predicate, CF_SIMT_HERE);
}

#include "simt/simt_math.h"
#include "simt/simt_warp.h"
