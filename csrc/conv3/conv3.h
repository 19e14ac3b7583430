// Convolution over time, three frames wide, one frame of zeros at both ends; see docs/kernels/conv3.md.
#pragma once

#include <stdint.h>

#include "common/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct cf_conv3 {
  const float* x;                            // [windows, frames, inputs], dense
  const float* weights;                      // [outputs, inputs, 3], dense
  const float* bias;                         // [outputs], or NULL
  float* out;                                // [windows, frames, outputs], dense
  int64_t windows, frames, inputs, outputs;  // inputs and outputs: multiples of 16, at least 16
  int relu;                                  // nonzero: negative results become 0
} cf_conv3;

cf_status cf_conv3_cpu(const cf_conv3* params, int threads);

#ifdef __cplusplus
}
#endif
