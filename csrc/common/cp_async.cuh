// Copies from global to shared memory that run beside the computation (PTX cp.async): start some, commit them as a
// group, wait for groups, then a barrier before other threads' pieces are read.
//
// The host reading makes a copy at the latest moment it may (at the wait) or at the earliest, by schedule, so that a
// missing wait shows as poison and a buffer overwritten too early as a wrong result.
#pragma once

#include <cstdint>

#include "simt/simt.h"

namespace chordfast {

#ifdef CF_SIMT

namespace simt {
void copy_async(void* shared, const void* global, int bytes, int valid, Site site);
void commit_copies();
void wait_copies(int newest_left);
}  // namespace simt

// Copies `Bytes` (4, 8 or 16, both ends so aligned); those from `valid` on become zero, and are not read.
template <int Bytes>
void cp_async(void* shared, const void* global, int valid = Bytes, CF_SIMT_SITE) {
  static_assert(Bytes == 4 || Bytes == 8 || Bytes == 16, "4, 8 or 16 bytes");
  simt::copy_async(shared, global, Bytes, valid, CF_SIMT_HERE);
}
inline void cp_async_commit() { simt::commit_copies(); }
// Until all but the newest `Left` groups of this thread have landed.
template <int Left>
void cp_async_wait() {
  simt::wait_copies(Left);
}

#else

// Copies `Bytes` (4, 8 or 16, both ends so aligned); those from `valid` on become zero, and are not read.
template <int Bytes>
__device__ __forceinline__ void cp_async(void* shared, const void* global, int valid = Bytes) {
  static_assert(Bytes == 4 || Bytes == 8 || Bytes == 16, "4, 8 or 16 bytes");
  const uint32_t address = static_cast<uint32_t>(__cvta_generic_to_shared(shared));
  if constexpr (Bytes == 16)  // past the first-level cache: the data is read once
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(global), "r"(valid) : "memory");
  else
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(address), "l"(global), "n"(Bytes), "r"(valid)
                 : "memory");
}
__device__ __forceinline__ void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Until all but the newest `Left` groups of this thread have landed.
template <int Left>
__device__ __forceinline__ void cp_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(Left) : "memory");
}

#endif

}  // namespace chordfast
