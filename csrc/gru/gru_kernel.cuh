// One block walks a song in one direction. A thread keeps its column of the recurrent weights in registers for the
// whole song; the state goes round by shared memory.
#pragma once

#include <cstdint>

#include "simt/simt.h"

namespace chordfast {
namespace gru {

constexpr int kHidden = 128;           // units at most; fewer are filled up with zeros
constexpr int kThreads = 3 * kHidden;  // a thread a column: update gates, reset gates, candidates

struct Args {
  const float* sums;       // [frames, directions, 3*hidden]: x K + b
  const float* recurrent;  // [directions, hidden, 3*hidden]
  const int64_t* spans;    // [songs, 2]: first frame and number of frames, longest song first
  float* out;              // [frames, directions*hidden]
  int hidden, directions;
};

__device__ __forceinline__ float hard_sigmoid(float v) { return fminf(fmaxf(fmaf(v, 0.2f, 0.5f), 0.0f), 1.0f); }

// Four sums, so that a multiply-add need not wait for the one before it.
__device__ __forceinline__ float product(const float* __restrict__ state, const float (&weights)[kHidden]) {
  float a = 0.0f, b = 0.0f, c = 0.0f, d = 0.0f;
#pragma unroll
  for (int i = 0; i < kHidden; i += 4) {
    const float4 h = *reinterpret_cast<const float4*>(state + i);
    a = fmaf(h.x, weights[i], a);
    b = fmaf(h.y, weights[i + 1], b);
    c = fmaf(h.z, weights[i + 2], c);
    d = fmaf(h.w, weights[i + 3], d);
  }
  return (a + b) + (c + d);
}

// 65536 registers of a multiprocessor are 170 for each of the 384 threads.
__global__ void __launch_bounds__(kThreads, 1) recurrence(Args p) {
  CF_SHARED(float, state, kHidden);
  CF_SHARED(float, reset, kHidden);
  CF_SHARED(float, update, kHidden);
  const int gate = threadIdx.x / kHidden, unit = threadIdx.x % kHidden, direction = blockIdx.y;
  const int64_t first = p.spans[2 * blockIdx.x], count = p.spans[2 * blockIdx.x + 1];
  const bool alive = unit < p.hidden;
  const int column = gate * p.hidden + unit;
  float weights[kHidden];
#pragma unroll
  for (int i = 0; i < kHidden; ++i)
    weights[i] = alive && i < p.hidden
                     ? p.recurrent[(static_cast<int64_t>(direction) * p.hidden + i) * 3 * p.hidden + column]
                     : 0.0f;
  if (gate == 0) state[unit] = 0.0f;
  const int64_t step = direction ? -1 : 1, width = static_cast<int64_t>(p.directions) * 3 * p.hidden;
  int64_t frame = direction ? first + count - 1 : first;
  const float* sums = p.sums + direction * 3 * p.hidden + column;
  float next = alive && count > 0 ? sums[frame * width] : 0.0f;
  __syncthreads();
  for (int64_t t = 0; t < count; ++t, frame += step) {
    const float sum = next;
    if (alive && t + 1 < count) next = sums[(frame + step) * width];  // asked for a step ahead
    if (gate == 0) {
      update[unit] = hard_sigmoid(sum + product(state, weights));
    } else if (gate == 1) {
      reset[unit] = hard_sigmoid(sum + product(state, weights)) * state[unit];
    }
    __syncthreads();
    if (gate == 2) {
      const float candidate = tanhf(sum + product(reset, weights)), z = update[unit];
      const float now = fmaf(z, state[unit], (1.0f - z) * candidate);
      state[unit] = now;
      if (alive) p.out[(frame * p.directions + direction) * p.hidden + unit] = now;
    }
    __syncthreads();
  }
}

}  // namespace gru
}  // namespace chordfast
