// Wrong kernels: each has one fault that the host reading must find (tests/simt/test_simt.py says how). Never run on a
// GPU.
#include <cstring>

#include "common/cp_async.cuh"
#include "common/device.cuh"
#include "simt/simt_test.h"

namespace chordfast {
namespace {

// Reverses 64 numbers in shared memory; without the first barrier a thread reads what another has not written yet.
__global__ void read_too_early(const float* in, float* out, int with_barrier) {
  CF_SHARED(float, buffer, 64);
  buffer[threadIdx.x] = in[threadIdx.x];
  if (with_barrier) __syncthreads();
  out[threadIdx.x] = buffer[63 - threadIdx.x];
}

// Rotates twice through one buffer; without the second barrier a thread overwrites what another has still to read.
__global__ void overwrite_too_early(const float* in, float* out, int with_barrier) {
  CF_SHARED(float, buffer, 64);
  float value = in[threadIdx.x];
  for (int turn = 0; turn < 2; ++turn) {
    buffer[threadIdx.x] = value;
    __syncthreads();
    value = buffer[(threadIdx.x + 1) % 64];
    if (with_barrier) __syncthreads();
  }
  out[threadIdx.x] = value;
}

// The same within one warp, where threads on a GPU often, but not always, go in step.
__global__ void warp_in_step(const float* in, float* out, int with_barrier) {
  CF_SHARED(float, buffer, 32);
  buffer[threadIdx.x] = in[threadIdx.x];
  if (with_barrier) __syncwarp();
  out[threadIdx.x] = buffer[31 - threadIdx.x];
}

// Each block reads what another block of the same launch writes.
__global__ void block_order(float* out) { out[blockIdx.x] = out[(blockIdx.x + 1) % gridDim.x] + 1.0f; }

__global__ void divergent(float* out, int option) {
  const bool low = threadIdx.x < 32;
  if (option == 0 && low) return;
  if (option == 1 && low) {
    __syncthreads();
  } else if (option == 2 && threadIdx.x == 40) {
    __shfl_sync(0xffffffffu, 1, 0);
  } else {
    __syncthreads();
  }
  out[threadIdx.x] = 1.0f;
}

__global__ void masks(float* out, int option) {
  const int lane = threadIdx.x;
  int value = 0;
  if (option == 0 && lane < 16) value = __shfl_sync(0xffffffffu, lane, 0);  // lanes 16-31 go to the barrier
  if (option == 1) value = __shfl_sync(0x0000ffffu, lane, 0);               // lanes 16-31 call without being named
  if (option == 2) {
    if (lane == 31) return;
    value = __shfl_sync(0xffffffffu, lane, 0);  // lane 31 has returned
  }
  if (option == 3)
    value = lane < 16 ? __shfl_sync(0xffffffffu, lane, 0)  // two shuffles are not one
                      : __shfl_sync(0xffffffffu, lane, 1);
  if (option == 4) value = __shfl_sync(0xffffffffu, lane, 0, 12);
  if (option == 5) value = __any_sync(lane < 8 ? 0x000000ffu : 0xffffffffu, 1);  // masks that disagree
  __syncthreads();
  out[lane] = static_cast<float>(value);
}

// Reads a lane that the mask does not name: allowed to call, undefined to use.
__global__ void unnamed_source(float* out) {
  if (threadIdx.x < 16) out[threadIdx.x] = __shfl_sync(0x0000ffffu, 1.0f, 20);
}

__global__ void never_written(float* out) {
  CF_SHARED(float, buffer, 32);
  CF_DYN_SHARED(double, dynamic);
  CF_SHARED(__half, halves, 32);
  if (threadIdx.x % 2 == 0) buffer[threadIdx.x] = 1.0f, dynamic[threadIdx.x] = 1.0, halves[threadIdx.x] = 1.0f;
  __syncthreads();
  out[threadIdx.x] = buffer[threadIdx.x];
  out[32 + threadIdx.x] = static_cast<float>(dynamic[threadIdx.x]);
  out[64 + threadIdx.x] = __half2float(halves[threadIdx.x]);
}

__global__ void shared_bounds(float* out, int at) {
  CF_SHARED(float, before, 16);
  CF_SHARED(float, tile, 16);
  before[threadIdx.x] = tile[threadIdx.x] = 0.0f;
  if (threadIdx.x == 0) tile[at] = 1.0f;
  __syncthreads();
  out[threadIdx.x] = tile[threadIdx.x] + before[threadIdx.x];
}

__global__ void dynamic_bounds(float* out, int at) {
  CF_DYN_SHARED(float, tile);
  if (threadIdx.x == 0) tile[at] = out[0];
}

__global__ void too_much_shared(float* out) {
  CF_SHARED(float, tile, 13 * 1024);
  tile[threadIdx.x] = 1.0f;
  out[threadIdx.x] = tile[threadIdx.x];
}

// For the AddressSanitizer build: out[i] = in[i + offset].
__global__ void global_bounds(const float* in, float* out, int offset) {
  const int i = static_cast<int>(threadIdx.x);
  out[i] = in[i + offset];
}

__global__ void copy_faults(const float* in, float* out, int option) {
  CF_SHARED(float, tile, 128);
  float local[4] = {};
  float* to = option == 2 ? local : tile + 4 * threadIdx.x + (option == 1);
  cp_async<16>(to, in + 4 * threadIdx.x, option == 3 ? 20 : 16);
  cp_async_commit();
  if (option != 0) cp_async_wait<0>();
  out[threadIdx.x] = tile[4 * threadIdx.x];
}

__global__ void trap() {
  if (threadIdx.x == 3) __trap();
}

}  // namespace
}  // namespace chordfast

using namespace chordfast;

extern "C" cf_status cf_simt_fault(const char* name, const float* in, int64_t in_size, float* out, int64_t out_size,
                                   int option) {
  return CF_GUARD([&]() -> cf_status {
    void* const stream = nullptr;
    const auto is = [&](const char* other) { return !std::strcmp(name, other); };
    if (is("read_too_early")) {
      CF_LAUNCH(read_too_early, 1, 64, 0, stream, in, out, option);
    } else if (is("overwrite_too_early")) {
      CF_LAUNCH(overwrite_too_early, 1, 64, 0, stream, in, out, option);
    } else if (is("warp_in_step")) {
      CF_LAUNCH(warp_in_step, 1, 32, 0, stream, in, out, option);
    } else if (is("block_order")) {
      CF_LAUNCH(block_order, static_cast<unsigned>(out_size), 1, 0, stream, out);
    } else if (is("divergent")) {
      CF_LAUNCH(divergent, 2, 128, 0, stream, out, option);
    } else if (is("masks")) {
      CF_LAUNCH(masks, 1, 32, 0, stream, out, option);
    } else if (is("unnamed_source")) {
      CF_LAUNCH(unnamed_source, 1, 32, 0, stream, out);
    } else if (is("never_written")) {
      CF_LAUNCH(never_written, 1, 32, 32 * sizeof(double), stream, out);
    } else if (is("shared_bounds")) {
      CF_LAUNCH(shared_bounds, 1, 16, 0, stream, out, option);
    } else if (is("dynamic_bounds")) {
      CF_LAUNCH(dynamic_bounds, 1, 32, 64, stream, out, option);
    } else if (is("dynamic_not_given")) {
      CF_LAUNCH(dynamic_bounds, 1, 32, 0, stream, out, 0);
    } else if (is("too_much_shared")) {
      CF_LAUNCH(too_much_shared, 1, 32, 0, stream, out);
    } else if (is("too_much_dynamic")) {
      CF_LAUNCH(dynamic_bounds, 1, 32, 48 * 1024 + 4, stream, out, 0);
    } else if (is("global_bounds")) {
      CF_LAUNCH(global_bounds, 1, static_cast<unsigned>(in_size), 0, stream, in, out, option);
    } else if (is("copy_faults")) {
      CF_LAUNCH(copy_faults, 1, 32, 0, stream, in, out, option);
    } else if (is("trap")) {
      CF_LAUNCH(trap, 1, 32, 0, stream);
    } else if (is("launch")) {
      const dim3 grids[] = {dim3(0), dim3(1, 1, 70000), dim3(1), dim3(1)};
      const dim3 blocks[] = {dim3(32), dim3(32), dim3(1025), dim3(1, 1, 65)};
      CF_LAUNCH(trap, grids[option], blocks[option], 0, stream);
    } else {
      return fail(CF_INVALID, __FILE__, __LINE__, "no self-test case '%s'", name);
    }
    return CF_OK;
  });
}
