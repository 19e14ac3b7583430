// Distillation and focal loss of rows of logits, with the gradient of the same pass; see docs/kernels/kd_loss.md.
#pragma once

#include <stdint.h>

#include "common/status.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { CF_KD_FLOAT32 = 0, CF_KD_BFLOAT16 = 1, CF_KD_FLOAT16 = 2, CF_KD_FLOAT64 = 3 };

// What `stats` holds. CF_KD_FACTOR is what the gradient has still to be multiplied with: 0 where the mix was cut at 0,
// the reciprocal of the number of rows for float16 (whose range the divided gradient would leave), else 1.
enum { CF_KD_KD = 0, CF_KD_HARD = 1, CF_KD_DROPPED = 2, CF_KD_DAMPED = 3, CF_KD_FACTOR = 4, CF_KD_STATS = 5 };

// "number" below is double for CF_KD_FLOAT64 and float else.
typedef struct cf_kd_loss_params {
  const void* student;        // [rows, classes] of dtype; may be NULL, as the others, if there are no rows
  const void* teacher;        // the same, or NULL: no distillation (alpha counts as 0)
  const int64_t* target;      // [rows], or NULL: distillation only (alpha counts as 1)
  const uint8_t* mask;        // [rows], 0 = the row does not exist, or NULL
  const void* class_weights;  // [classes] numbers, or NULL
  void* gradient;             // [rows, classes] of dtype, or NULL: not wanted
  void* loss;                 // one number
  void* stats;                // CF_KD_STATS numbers
  int64_t* valid;             // rows that count: not masked, target other than ignore_index
  void* workspace;            // CUDA: cf_kd_loss_workspace(rows) bytes; CPU: not used
  int64_t rows, classes;      // classes >= 1
  int64_t ignore_index;       // used if has_ignore
  double temperature;         // > 0
  double alpha;               // share of the distillation, 0 ... 1
  double gamma;               // >= 0; 0 = cross-entropy
  double low, high;           // thresholds of the teacher's confidence, used if selective
  int selective, has_ignore, dtype;
} cf_kd_loss_params;

// CPU: CF_INVALID if a row that counts has a target outside 0 ... classes - 1. The result does not depend on `threads`.
cf_status cf_kd_loss_fwd_cpu(const cf_kd_loss_params* params, int threads);
// out = gradient * grad_output * stats[CF_KD_FACTOR], over n elements; out may be gradient, and then nothing is touched
// if that product is 1. grad_output is one number.
cf_status cf_kd_loss_bwd_cpu(const void* gradient, const void* grad_output, const void* stats, void* out, int64_t n,
                             int dtype, int threads);

int64_t cf_kd_loss_workspace(int64_t rows);
// CUDA: float32, bfloat16, float16. A target out of range makes the loss and that row's gradient NaN.
cf_status cf_kd_loss_fwd_cuda(const cf_kd_loss_params* params, int device, void* stream);
cf_status cf_kd_loss_bwd_cuda(const void* gradient, const void* grad_output, const void* stats, void* out, int64_t n,
                              int dtype, int device, void* stream);

#ifdef __cplusplus
}

namespace chordfast {
// How fast a row's weight falls from 1 with the teacher's confidence above `high`, down to 0.2 at 1.
inline double kd_loss_weight_slope(double high) { return 0.8 / (1.0 - high + 1e-8); }
}  // namespace chordfast
#endif
