// The inner loops of the loss on the CPU, one table per SIMD level.
#pragma once

#include <stdint.h>

namespace chordfast {

enum { kKdBatch = 16 };

// What a batch of rows needs to know; the same for every batch of a call.
struct KdLossBatch {
  const void* student;
  const void* teacher;         // NULL: absent
  const int64_t* target;       // NULL: absent
  const float* class_weights;  // NULL: 1
  void* gradient;              // NULL: not wanted
  int64_t classes, padded;     // padded: classes rounded up to 16
  float temperature, gamma, low, high;
  float weight_at_1, weight_slope;  // of a row of confidence c > high: weight_at_1 + weight_slope * (1 - c)
  float kd_scale, hard_scale;       // of the gradient: alpha * T / M, (1 - alpha) / M
  int selective, dtype;
  int power;  // 1 ... 4: the temperature, so that exp(z) = exp(z/T)^power; 0: another temperature
};

// Values of the rows of a batch, summed.
struct KdLossSums {
  float kd, hard, dropped, damped;
};

struct KdLossKernels {
  // `count` rows (1 ... kKdBatch) whose indices are in `rows`; scratch holds kd_loss_scratch(padded) floats.
  void (*batch)(const KdLossBatch& job, const int64_t* rows, int count, float* scratch, KdLossSums* sums);
  // out[i] = in[i] * factor; dtype as in kd_loss.h, not float64
  void (*scale)(const void* in, void* out, int64_t n, float factor, int dtype);
};

// Three rows of exponentials for each row of the batch, four converted rows and one of gradient.
inline int64_t kd_loss_scratch(int64_t padded) { return (3 * kKdBatch + 5) * padded; }

const KdLossKernels& kd_loss_kernels_plain();
const KdLossKernels& kd_loss_kernels_avx2();
const KdLossKernels& kd_loss_kernels_avx512();

}  // namespace chordfast
