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

#ifdef __cplusplus
}
#endif
