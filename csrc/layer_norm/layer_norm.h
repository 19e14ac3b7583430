// Layer norm with what stands around it in a transformer (residual, dropout, ReLU), and dropout alone; see
// docs/kernels/layer_norm.md.
#pragma once

#include <stdint.h>

#include "common/status.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { CF_NORM_F32 = 0, CF_NORM_F16 = 1, CF_NORM_BF16 = 2 };
// Which sigma: BTC's divides by width - 1 and gets epsilon added outside the root; the usual one divides by width and
// has epsilon inside.
enum { CF_NORM_SAMPLE = 0, CF_NORM_POPULATION = 1 };
// What is normalised, and where dropout acts:
//   CF_NORM_SUM     s = dropout(x + y), s is a result too      (y NULL: s = x, no dropout)
//   CF_NORM_BRANCH  s = x + alpha * dropout(y)
//   CF_NORM_AFTER   s = x; the result is dropout(relu(norm(x)))
enum { CF_NORM_SUM = 0, CF_NORM_BRANCH = 1, CF_NORM_AFTER = 2 };

typedef struct cf_layer_norm_shape {
  int64_t rows, width;  // width >= 2 for CF_NORM_SAMPLE, else >= 1
  int dtype, kind, place;
  float epsilon;        // >= 0
  float dropout;        // 0 ... 1
  const int64_t* seed;  // seed and offset of the dropout bits; NULL if dropout is 0
} cf_layer_norm_shape;

// Tensors [rows, width] of dtype, dense; vectors of width floats.
typedef struct cf_layer_norm_fwd {
  cf_layer_norm_shape shape;
  const void *x, *y;          // y: NULL where there is none
  const float* alpha;         // one number, or NULL: 1
  const float *gamma, *beta;  // [width]
  void* sum;                  // CF_NORM_SUM: s, or NULL: not wanted
  void* out;
  float* stats;  // [rows, 2]: mean and sigma
} cf_layer_norm_fwd;

typedef struct cf_layer_norm_bwd {
  cf_layer_norm_shape shape;
  const void *grad, *grad_sum;  // of out; of sum, or NULL
  const void *x, *y;            // CF_NORM_SUM: x is s and y is NULL, dropout says whether s was dropped out
  const void* out;              // CF_NORM_AFTER, else NULL
  const float *alpha, *gamma, *stats;
  void *dx, *dy;                   // dy: CF_NORM_BRANCH, else NULL (CF_NORM_SUM: x and y have the same gradient)
  float *dgamma, *dbeta, *dalpha;  // dalpha: one number, or NULL
} cf_layer_norm_bwd;

cf_status cf_layer_norm_fwd_cpu(const cf_layer_norm_fwd* params, int threads);
cf_status cf_layer_norm_bwd_cpu(const cf_layer_norm_bwd* params, int threads);

// Dropout of rows with strides (in elements), the last axis dense:
//   CF_DROPOUT_ADD   out = dropout(x + y), y NULL: dropout(x), which is also the gradient of both
//   CF_DROPOUT_RELU  out = dropout(relu(x))
//   CF_DROPOUT_RELU_BWD  out = gradient of x, where x holds that of the result and y the result
enum { CF_DROPOUT_ADD = 0, CF_DROPOUT_RELU = 1, CF_DROPOUT_RELU_BWD = 2 };

typedef struct cf_dropout {
  const void *x, *y;
  void* out;
  int64_t rows, width, x_stride, y_stride, out_stride;
  int dtype, mode;
  float dropout;
  const int64_t* seed;
  int64_t sequence;  // separate bits under the same seed
} cf_dropout;

cf_status cf_dropout_cpu(const cf_dropout* params, int threads);

#ifdef __cplusplus
}
#endif
