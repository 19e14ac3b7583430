// The inner loops of the constant-Q transform, one table per SIMD level.
#pragma once

#include <stdint.h>

namespace chordfast {

enum { kTile = 8, kBlock = 304 };

struct CqtKernels {
  // out[i] = half-band filter of x at 2i; uses x[2i - 17 ... 2i + 17], reads up to 32 floats before x[0] and 64 after
  // the last.
  void (*half_band)(const float* x, float* out, int64_t n, const float* taps);
  // out[i] = sum_j taps[j] x[2i - reach + j], j < padded (a multiple of 32).
  void (*fir)(const float* x, float* out, int n, const float* taps, int reach, int padded);
  // sums[f][lane] += folded product of kTile frames, frame f centred at x + f*hop; `mirror` is the offset of the sample
  // that is mirrored into x[1]; taps must be a multiple of 16 and coefficients [taps][lanes].
  void (*octave)(const float* x, int64_t hop, int mirror, const float* coefficients, int taps, int lanes, float* sums,
                 float* scratch);
  // sums[lane] += factor * sum_i x[i] * g[i][lane]
  void (*axpy)(const float* x, int n, const float* g, int lanes, float factor, float* sums);
  // out[k] = scale[k]*|sums[2k] + i sums[2k+1]|, or its logarithm with floor 1e-6
  void (*magnitude)(const float* sums, const float* scale, int bins, int log_output, float* out);
};

const CqtKernels& cqt_kernels_plain();
const CqtKernels& cqt_kernels_avx2();
const CqtKernels& cqt_kernels_avx512();

}  // namespace chordfast
