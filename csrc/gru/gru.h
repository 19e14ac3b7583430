// C ABI of the bidirectional gated recurrent unit over songs of different lengths, in the form Keras 2 had.
#pragma once

#include <stdint.h>

#include "common/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct cf_gru_params {
  int input, hidden, directions;  // direction 1, if there is one, runs from each song's end to its start
  const float* kernel;            // [directions, input, 3*hidden], columns z, r, h
  const float* recurrent;         // [directions, hidden, 3*hidden]
  const float* bias;              // [directions, 3*hidden]
  const float* x;                 // [frames, input], songs laid end to end
  const int64_t* lengths;         // [songs], adding up to frames
  int64_t songs, frames;
  float* out;  // [frames, directions*hidden]
} cf_gru_params;

// a = x K + b; z = s(a_z + h R_z); r = s(a_r + h R_r); c = tanh(a_h + (r h) R_h); h = z h + (1 - z) c; s(v) = clip(v/5
// + 1/2). A song's bits depend neither on its neighbours nor on the number of threads.
cf_status cf_gru_fwd_cpu(const cf_gru_params* params, int threads);

typedef struct cf_gru_recurrence_params {
  const float* sums;       // [frames, directions, 3*hidden]: x K + b
  const float* recurrent;  // [directions, hidden, 3*hidden]
  const int64_t* spans;    // [songs, 2]: first frame and number of frames
  float* out;              // [frames, directions*hidden]
  int64_t songs;
  int hidden, directions;  // hidden up to 128
} cf_gru_recurrence_params;

// The steps alone, all pointers to the device's memory; songs take their blocks in the order of `spans`.
cf_status cf_gru_recurrence_cuda(const cf_gru_recurrence_params* params, int device, void* stream);

#ifdef __cplusplus
}
#endif
