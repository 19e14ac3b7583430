// One head's attention on the CPU, one table per SIMD level.
#pragma once

#include <stdint.h>

namespace chordfast {

// One sequence of one head. Strides are from time step to time step, in elements.
struct AttentionHead {
  const void *q, *k, *v, *grad, *saved;  // grad and saved (the output): backward only
  int64_t q_stride, k_stride, v_stride, grad_stride, saved_stride;
  void *out, *dq, *dk, *dv;  // out: forward only; dq, dk, dv: backward only
  int64_t out_stride, dq_stride, dk_stride, dv_stride;
  float* lse;           // [queries], written forward, read backward
  const uint8_t* mask;  // [keys] or null
  int queries, keys, width, dtype;
  int direction;  // CF_ATTENTION_FULL, _FORWARD or _BACKWARD
  float scale;
  unsigned key, high,
      threshold;              // dropout bits; threshold 0: no dropout, else a value is kept if its 16 bits are below
  const AttentionHead* next;  // the head that comes after this one, or null: its inputs are fetched meanwhile
};

struct AttentionKernels {
  void (*forward)(const AttentionHead& head, float* scratch);
  void (*backward)(const AttentionHead& head, float* scratch);
};

// Floats of scratch that one head needs; scratch is aligned to 64 bytes.
inline int64_t attention_scratch(int64_t queries, int64_t keys, int64_t width) {
  const int64_t q = (queries + 15) / 16 * 16, k = (keys + 15) / 16 * 16, d = (width + 15) / 16 * 16;
  return 2 * q * d + 6 * k * d + 3 * 16 * (k + 16) + k + 16 * d;
}

const AttentionKernels& attention_kernels_plain();
const AttentionKernels& attention_kernels_avx2();
const AttentionKernels& attention_kernels_avx512();

}  // namespace chordfast
