// The inner loops of layer norm and dropout on the CPU, one table per SIMD level.
#pragma once

#include <stdint.h>

namespace chordfast {

// Bits of elements: element e belongs to counter e / 4 and is its (e % 4)-th 16 bits.
struct NormDropout {
  uint32_t key, high, threshold;  // threshold 0: everything is kept
};

// Rows that one call works through; pointers to their first element, NULL where there is nothing.
struct LayerNormRows {
  const void *x, *y, *after, *grad, *grad_sum;
  void *sum, *out, *dx, *dy;
  const float *gamma, *beta;
  float* stats;
  float *dgamma, *dbeta, *dalpha;  // sums over these rows: [padded], [padded], one number
  int64_t rows, width, first;      // first: index of the first element in the whole tensor
  float alpha, epsilon;
  int dtype, kind, place;
  NormDropout dropout;
  float* scratch;  // layer_norm_scratch(rows, width) floats
};

struct DropoutRun {
  const void *x, *y;
  void* out;
  int64_t count, first;
  int dtype, mode;
  NormDropout dropout;
  float* scratch;  // layer_norm_scratch(1, count) floats, or NULL for CF_DROPOUT_RELU_BWD
};

struct LayerNormKernels {
  void (*fwd)(const LayerNormRows&);
  void (*bwd)(const LayerNormRows&);
  void (*dropout)(const DropoutRun&);
};

inline int64_t layer_norm_padded(int64_t width) { return (width + 15) / 16 * 16; }
// Two rows of floats, gamma and beta padded, and one bit for every element.
inline int64_t layer_norm_scratch(int64_t rows, int64_t width) {
  return 4 * layer_norm_padded(width) + rows * width / 32 + 4;
}

const LayerNormKernels& layer_norm_kernels_plain();
const LayerNormKernels& layer_norm_kernels_avx2();
const LayerNormKernels& layer_norm_kernels_avx512();

}  // namespace chordfast
