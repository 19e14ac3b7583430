// C ABI of attention for short sequences: forward and backward of softmax(scale * Q K^T + mask) V with dropout.
#pragma once

#include <stdint.h>

#include "common/status.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { CF_ATTENTION_LENGTH = 256, CF_ATTENTION_WIDTH = 64 };  // most queries or keys, widest head

typedef enum cf_attention_direction {
  CF_ATTENTION_FULL = 0,      // every key
  CF_ATTENTION_FORWARD = 1,   // keys j <= i
  CF_ATTENTION_BACKWARD = 2,  // keys j >= i
  CF_ATTENTION_BOTH = 3,      // directions == 2: index 0 forward, index 1 backward
} cf_attention_direction;

typedef enum cf_attention_dtype {
  CF_ATTENTION_F32 = 0,
  CF_ATTENTION_F16 = 1,
  CF_ATTENTION_BF16 = 2
} cf_attention_dtype;

// [directions, batch, heads, time, width]; strides in elements for all axes but the last, whose stride is 1.
typedef struct cf_attention_tensor {
  void* data;
  int64_t stride[4];
} cf_attention_tensor;

typedef struct cf_attention_shape {
  int64_t directions, batch, heads, queries, keys, width;
  int direction, dtype;
  float scale, dropout;  // dropout is rounded to a multiple of 2^-16
} cf_attention_shape;

// `lse` [directions, batch, heads, queries]: logarithm to base 2 of the sum of exp(scale * score); +inf where every key
// is masked (the output row is zero there). `mask` [batch, keys]: one byte a key, 0 where it is masked; may be null.
// `seed`: two int64 (seed, offset) of the dropout bits; read only if dropout > 0.
typedef struct cf_attention_fwd {
  cf_attention_shape shape;
  cf_attention_tensor q, k, v, out;
  float* lse;
  const uint8_t* mask;
  const int64_t* seed;
} cf_attention_fwd;

typedef struct cf_attention_bwd {
  cf_attention_shape shape;
  cf_attention_tensor grad, q, k, v, out, dq, dk, dv;
  const float* lse;
  const uint8_t* mask;
  const int64_t* seed;
} cf_attention_bwd;

// Sequences are shared by `threads` threads; the result does not depend on their number.
cf_status cf_attention_fwd_cpu(const cf_attention_fwd* p, int threads);
cf_status cf_attention_bwd_cpu(const cf_attention_bwd* p, int threads);

// `stream` is a cudaStream_t. One block owns a sequence of a head: no atomics, the same bits from run to run.
cf_status cf_attention_fwd_cuda(const cf_attention_fwd* p, int device, void* stream);
cf_status cf_attention_bwd_cuda(const cf_attention_bwd* p, int device, void* stream);

#ifdef __cplusplus
}
#endif
