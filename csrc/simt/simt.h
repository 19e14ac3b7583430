// What every .cu and .cuh of the project includes instead of the CUDA headers: the launch and shared-memory macros, in
// two readings. nvcc compiles real kernels; with CF_SIMT the host compiler runs the same text thread by thread
// (simt_host.h, docs/simt.md), so that kernels are tested where there is no GPU.
//
//   CF_LAUNCH((kernel<float, 4>), grid, block, dynamic_bytes, stream, arguments...);   kernel in brackets if it has
//   commas CF_SHARED(float, tile, 256);       a shared array; for rows: using Row = float[17]; CF_SHARED(Row, tile,
//   16); CF_DYN_SHARED(float, buffer);      pointer to the dynamic shared memory of the launch, aligned to 16 bytes
//
// After each launch: CF_LAUNCH_CHECK() of common/device.cuh. The host reading throws instead; wrap launchers in
// CF_GUARD.
#pragma once

#ifdef CF_SIMT

#include "simt/simt_host.h"

#else

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#define CF_LAUNCH(kernel, grid, block, dynamic_bytes, stream, ...) \
  (kernel)<<<(grid), (block), (dynamic_bytes), static_cast<cudaStream_t>(stream)>>>(__VA_ARGS__)
#define CF_SHARED(type, name, count) __shared__ __align__(16) type name[count]
#define CF_DYN_SHARED(type, name)                                \
  extern __shared__ __align__(16) unsigned char cf_dyn_shared[]; \
  type* const name = reinterpret_cast<type*>(cf_dyn_shared)

#endif
