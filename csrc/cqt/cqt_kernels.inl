// Compiled once per SIMD level inside namespace CF_LEVEL; the order of floating-point operations for one output never
// depends on where in a block it stands, so results do not depend on how a signal is cut.
#include "common/simd.h"
#include "cqt/cqt_kernels.h"

namespace chordfast {
namespace CF_LEVEL {

// Store the first n lanes (all if n is larger).
static inline void store_first(float* to, cf_reg v, int64_t n) {
  if (n >= CF_WIDTH) {
    cf_store(to, v);
    return;
  }
  float lanes[CF_WIDTH];
  cf_store(lanes, v);
  for (int k = 0; k < n; ++k) to[k] = lanes[k];
}

#if CF_WIDTH == 16
// Lanes kShift ... kShift + 15 of the 32 lanes (a, b): one instruction, where an unaligned load would cross a cache
// line.
template <int kShift>
static inline cf_reg shifted(cf_reg a, cf_reg b) {
  return (cf_reg)_mm512_alignr_epi32((__m512i)b, (__m512i)a, kShift);  // GCC 12 makes two-source permutes of shuffles
}
#endif

static void half_band(const float* x, float* out, int64_t n, const float* taps) {
#if CF_WIDTH == 16
  // Of the eighteen shifted vectors twelve are made by shuffles and six by loads that cross cache lines, so that both
  // kinds of unit are busy. odd[kPad + i] = x[2i + 1].
  enum { kRun = 512, kPad = 16 };
  alignas(64) float odd[kRun + 2 * kPad + 2 * CF_WIDTH];
  alignas(64) float evens[kRun + CF_WIDTH];
  for (int64_t start = 0; start < n; start += kRun) {
    const int run = n - start < kRun ? (int)(n - start) : kRun;
    const float* block = x + 2 * start;
    cf_store(odd, CF_ODD(cf_load(block - 32), cf_load(block - 16)));
    int i = 0;
    for (; i < run; i += CF_WIDTH) {
      const cf_reg low = cf_load(block + 2 * i), high = cf_load(block + 2 * i + 16);
      cf_store(evens + i, CF_EVEN(low, high));
      cf_store(odd + kPad + i, CF_ODD(low, high));
    }
    cf_store(odd + kPad + i, CF_ODD(cf_load(block + 2 * i), cf_load(block + 2 * i + 16)));
    cf_reg before = cf_load(odd), now = cf_load(odd + kPad);
    for (i = 0; i < run; i += CF_WIDTH) {
      const float* at = odd + kPad + i;
      const cf_reg after = cf_load(at + CF_WIDTH);
      cf_reg sum = cf_load(evens + i) * 0.5f, rest = taps[0] * (now + shifted<15>(before, now));
      sum += taps[1] * (shifted<1>(now, after) + shifted<14>(before, now));
      rest += taps[2] * (shifted<2>(now, after) + shifted<13>(before, now));
      sum += taps[3] * (shifted<3>(now, after) + shifted<12>(before, now));
      rest += taps[4] * (shifted<4>(now, after) + shifted<11>(before, now));
      sum += taps[5] * (shifted<5>(now, after) + shifted<10>(before, now));
      rest += taps[6] * (cf_load(at + 6) + cf_load(at - 7));
      sum += taps[7] * (cf_load(at + 7) + cf_load(at - 8));
      rest += taps[8] * (cf_load(at + 8) + cf_load(at - 9));
      store_first(out + start + i, sum + rest, run - i);
      before = now;
      now = after;
    }
  }
#else
  enum { kRun = 512, kPad = 16 };
  float even[kRun + CF_WIDTH], odd[kRun + 2 * kPad + 2 * CF_WIDTH];
  for (int64_t start = 0; start < n; start += kRun) {
    const int run = n - start < kRun ? (int)(n - start) : kRun;
    const float* block = x + 2 * start;
    // odd[i + kPad] = block[2i + 1] for i = -9 ... run + 8
    for (int i = -kPad; i < run + kPad; i += CF_WIDTH)
      cf_store(odd + kPad + i, CF_ODD(cf_load(block + 2 * i), cf_load(block + 2 * i + CF_WIDTH)));
    for (int i = 0; i < run; i += CF_WIDTH)
      cf_store(even + i, CF_EVEN(cf_load(block + 2 * i), cf_load(block + 2 * i + CF_WIDTH)));
    for (int i = 0; i < run; i += CF_WIDTH) {
      cf_reg sum = cf_load(even + i) * 0.5f;
      for (int p = 0; p < 9; ++p) sum += taps[p] * (cf_load(odd + kPad + i + p) + cf_load(odd + kPad + i - 1 - p));
      store_first(out + start + i, sum, run - i);
    }
  }
#endif
}

static void fir(const float* x, float* out, int n, const float* taps, int reach, int padded) {
  for (int i = 0; i < n; ++i) {
    const float* first = x + 2 * (int64_t)i - reach;
    cf_reg a = {}, b = {};
    for (int j = 0; j < padded; j += 2 * CF_WIDTH) {
      a += cf_load(first + j) * cf_load(taps + j);
      b += cf_load(first + j + CF_WIDTH) * cf_load(taps + j + CF_WIDTH);
    }
    out[i] = cf_sum(a + b);
  }
}

// pairs[2j], pairs[2j + 1] = x[1 + j] + x[mirror - j], x[1 + j] - x[mirror - j]
static inline void fold(const float* x, int mirror, int first, int n, float* pairs) {
  for (int j = 0; j < n; j += CF_WIDTH) {
    const cf_reg right = cf_load(x + 1 + first + j);
    const cf_reg backwards = cf_load(x + mirror - first - j - (CF_WIDTH - 1));
    const cf_reg left = CF_REVERSE(backwards);
    const cf_reg sum = right + left, difference = right - left;
    cf_store(pairs + 2 * j, CF_ZIP_LOW(sum, difference));
    cf_store(pairs + 2 * j + CF_WIDTH, CF_ZIP_HIGH(sum, difference));
  }
}

// Frames x vectors of lanes kept in registers over a block of taps.
template <int kFrames, int kVectors>
static inline void product(const float* pairs, const float* coefficients, int lanes, int n, float* sums) {
  cf_reg total[kFrames][kVectors];
  for (int f = 0; f < kFrames; ++f)
    for (int v = 0; v < kVectors; ++v) total[f][v] = (cf_reg){};
  for (int j = 0; j < n; ++j) {
    cf_reg c[kVectors];
    for (int v = 0; v < kVectors; ++v) c[v] = cf_load(coefficients + (int64_t)j * lanes + v * CF_WIDTH);
    for (int f = 0; f < kFrames; ++f) {
      const cf_reg pair = cf_broadcast_pair(pairs + f * (2 * kBlock) + 2 * j);
      for (int v = 0; v < kVectors; ++v) total[f][v] += pair * c[v];
    }
  }
  for (int f = 0; f < kFrames; ++f)
    for (int v = 0; v < kVectors; ++v)
      cf_store(sums + f * lanes + v * CF_WIDTH, cf_load(sums + f * lanes + v * CF_WIDTH) + total[f][v]);
}

// 32 vector registers with AVX-512, 16 otherwise: accumulators + coefficients + one broadcast must fit.
#if CF_WIDTH == 16
enum { kMostVectors = 5 };
#define CF_FRAMES(vectors) ((vectors) <= 3 ? 8 : 4)
#else
enum { kMostVectors = 6 };
#define CF_FRAMES(vectors) 2
#endif

template <int kVectors>
static inline void tile(const float* pairs, const float* coefficients, int lanes, int n, float* sums) {
  enum { kFrames = CF_FRAMES(kVectors) };
  for (int f = 0; f < kTile; f += kFrames)
    product<kFrames, kVectors>(pairs + f * (2 * kBlock), coefficients, lanes, n, sums + f * lanes);
}

static void octave(const float* x, int64_t hop, int mirror, const float* coefficients, int taps, int lanes, float* sums,
                   float* scratch) {
  const int vectors = lanes / CF_WIDTH;
  const int groups = (vectors + kMostVectors - 1) / kMostVectors;
  for (int first = 0; first < taps; first += kBlock) {
    const int n = taps - first < kBlock ? taps - first : kBlock;
    for (int f = 0; f < kTile; ++f) fold(x + f * hop, mirror, first, n, scratch + f * (2 * kBlock));
    for (int g = 0, v = 0; g < groups; ++g) {
      const int count = (vectors * (g + 1)) / groups - v;
      const float* c = coefficients + (int64_t)first * lanes + v * CF_WIDTH;
      float* s = sums + v * CF_WIDTH;
      switch (count) {
        case 1: tile<1>(scratch, c, lanes, n, s); break;
        case 2: tile<2>(scratch, c, lanes, n, s); break;
        case 3: tile<3>(scratch, c, lanes, n, s); break;
        case 4: tile<4>(scratch, c, lanes, n, s); break;
        case 5: tile<5>(scratch, c, lanes, n, s); break;
#if CF_WIDTH != 16
        case 6: tile<6>(scratch, c, lanes, n, s); break;
#endif
      }
      v += count;
    }
  }
}

static void axpy(const float* x, int n, const float* g, int lanes, float factor, float* sums) {
  for (int lane = 0; lane < lanes; lane += CF_WIDTH) {
    cf_reg total = {};
    for (int i = 0; i < n; ++i) total += x[i] * cf_load(g + (int64_t)i * lanes + lane);
    cf_store(sums + lane, cf_load(sums + lane) + factor * total);
  }
}

// Natural logarithm of positive normal floats: exponent plus 2·artanh((m-1)/(m+1)) with m in [sqrt(1/2), sqrt(2)).
static inline cf_reg natural_log(cf_reg value) {
  const cf_int bits = (cf_int)value;
  const cf_int exponent = (bits - 0x3f3504f3) >> 23;
  const cf_reg m = (cf_reg)(bits - (exponent << 23));
  const cf_reg z = (m - 1.0f) / (m + 1.0f), w = z * z;
  const cf_reg series = 2.0f + w * (0.66666667f + w * (0.4f + w * (0.28571429f + w * 0.22222222f)));
  return __builtin_convertvector(exponent, cf_reg) * 0.69314718f + z * series;
}

static void magnitude(const float* sums, const float* scale, int bins, int log_output, float* out) {
  for (int k = 0; k < bins; k += CF_WIDTH) {
    const cf_reg low = cf_load(sums + 2 * k), high = cf_load(sums + 2 * k + CF_WIDTH);
    const cf_reg re = CF_EVEN(low, high), im = CF_ODD(low, high);
    cf_reg value = cf_sqrt(re * re + im * im) * cf_load(scale + k);
    if (log_output) value = natural_log(value + 1e-6f);
    store_first(out + k, value, bins - k);
  }
}

static const CqtKernels table = {half_band, fir, octave, axpy, magnitude};

}  // namespace CF_LEVEL
}  // namespace chordfast
