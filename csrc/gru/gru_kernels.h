// The inner loops of the recurrent layer, one table per SIMD level.
#pragma once

#include <stdint.h>

namespace chordfast {

enum { kPanel = 64, kGroup = 6 };  // columns of a weight panel; songs that run together

struct GruKernels {
  // out[g][0 ... 63] += sum_k rows[g][k] * panel[k][0 ... 63] for g < count <= kGroup
  void (*multiply)(const float* const* rows, int k, const float* panel, float* const* out, int count);
  // z and r from pre-activations in place; reset[i] = r[i] * state[i]; width is a multiple of 16
  void (*gates)(float* z, float* r, const float* state, float* reset, int width);
  // state = z * state + (1 - z) * tanh(candidate)
  void (*update)(const float* z, const float* candidate, float* state, int width);
};

const GruKernels& gru_kernels_plain();
const GruKernels& gru_kernels_avx2();
const GruKernels& gru_kernels_avx512();

}  // namespace chordfast
