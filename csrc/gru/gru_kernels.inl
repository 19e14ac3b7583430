// Compiled once per SIMD level inside namespace CF_LEVEL. The order of operations for one song does not depend on
// `count`.
#include "common/simd.h"
#include "gru/gru_kernels.h"

namespace chordfast {
namespace CF_LEVEL {

// Songs x vectors of columns in registers: 24 of 32 with AVX-512, 12 of 16 otherwise.
#if CF_WIDTH == 16
enum { kVectors = 4 };
#else
enum { kVectors = 2 };
#endif

template <int kSongs>
static void product(const float* const* rows, int k, const float* panel, float* const* out) {
  for (int column = 0; column < kPanel; column += kVectors * CF_WIDTH) {
    cf_reg total[kSongs][kVectors];
    for (int g = 0; g < kSongs; ++g)
      for (int v = 0; v < kVectors; ++v) total[g][v] = cf_load(out[g] + column + v * CF_WIDTH);
    const float* weights = panel + column;
    for (int i = 0; i < k; ++i, weights += kPanel) {
      cf_reg w[kVectors];
      for (int v = 0; v < kVectors; ++v) w[v] = cf_load(weights + v * CF_WIDTH);
      for (int g = 0; g < kSongs; ++g)
        for (int v = 0; v < kVectors; ++v) total[g][v] += rows[g][i] * w[v];
    }
    for (int g = 0; g < kSongs; ++g)
      for (int v = 0; v < kVectors; ++v) cf_store(out[g] + column + v * CF_WIDTH, total[g][v]);
  }
}

static void multiply(const float* const* rows, int k, const float* panel, float* const* out, int count) {
  switch (count) {
    case 1: return product<1>(rows, k, panel, out);
    case 2: return product<2>(rows, k, panel, out);
    case 3: return product<3>(rows, k, panel, out);
    case 4: return product<4>(rows, k, panel, out);
    case 5: return product<5>(rows, k, panel, out);
    default: return product<6>(rows, k, panel, out);
  }
}

static inline cf_reg clamp(cf_reg v, float low, float high) {
  const cf_reg lows = low - (cf_reg){}, highs = high - (cf_reg){};
  v = v < lows ? lows : v;
  return v > highs ? highs : v;
}

// tanh(v) = 1 - 2 / (exp(2|v|) + 1) with the sign of v; absolute error below 2e-7. NaN stays NaN.
static inline cf_reg hyperbolic_tangent(cf_reg v) {
  const cf_int sign = (cf_int)v & (int)0x80000000;
  const cf_reg y = clamp((cf_reg)((cf_int)v & 0x7fffffff), 0.0f, 10.0f) * 2.88539008f;  // exponent of 2
  const cf_reg whole = (y + 12582912.0f) - 12582912.0f;                                 // nearest whole number
  const cf_reg f = (y - whole) * 0.69314718f;
  const cf_reg series =
      1.0f + f * (1.0f + f * (0.5f + f * (0.16666667f + f * (0.041666667f + f * (0.0083333333f + f * 0.0013888889f)))));
  const cf_int exponent = __builtin_convertvector(whole, cf_int);
  const cf_reg power = (cf_reg)((cf_int)series + (exponent << 23));
  const cf_reg value = 1.0f - 2.0f / (power + 1.0f);
  const cf_reg result = (cf_reg)((cf_int)value | sign);
  return v == v ? result : v;
}

static void gates(float* z, float* r, const float* state, float* reset, int width) {
  for (int i = 0; i < width; i += CF_WIDTH) {
    cf_store(z + i, clamp(cf_load(z + i) * 0.2f + 0.5f, 0.0f, 1.0f));
    cf_store(reset + i, clamp(cf_load(r + i) * 0.2f + 0.5f, 0.0f, 1.0f) * cf_load(state + i));
  }
}

static void update(const float* z, const float* candidate, float* state, int width) {
  for (int i = 0; i < width; i += CF_WIDTH) {
    const cf_reg gate = cf_load(z + i);
    cf_store(state + i, gate * cf_load(state + i) + (1.0f - gate) * hyperbolic_tangent(cf_load(candidate + i)));
  }
}

static const GruKernels table = {multiply, gates, update};

}  // namespace CF_LEVEL
}  // namespace chordfast
