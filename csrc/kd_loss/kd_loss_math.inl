// Inside namespace CF_LEVEL: what a register can do: parts of rows, reductions, exp2, log, 16-bit floats.
static const float kLog2E = 1.44269504f;
// Fills the lanes behind a row's end: the exponential is 0 there, the maximum unmoved.
static const float kNothing = -__builtin_inff();

static inline cf_reg splat(float x) { return x - (cf_reg){}; }

// The first n lanes (1 ... CF_WIDTH - 1), -inf behind them.
static inline cf_reg load_first(const float* p, int n) {
#if CF_WIDTH == 16
  return (cf_reg)_mm512_mask_loadu_ps(_mm512_set1_ps(kNothing), (__mmask16)((1u << n) - 1), p);
#else
  float lanes[CF_WIDTH];
  for (int i = 0; i < CF_WIDTH; ++i) lanes[i] = i < n ? p[i] : kNothing;
  return cf_load(lanes);
#endif
}

static inline void store_first(float* p, cf_reg v, int n) {
#if CF_WIDTH == 16
  _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), (__m512)v);
#else
  for (int i = 0; i < n; ++i) p[i] = v[i];
#endif
}

// A NaN in either operand may be lost here; the sums of exponentials bring it back.
static inline cf_reg larger(cf_reg a, cf_reg b) {
#if CF_WIDTH == 16
  return (cf_reg)_mm512_max_ps((__m512)a, (__m512)b);
#elif CF_WIDTH == 8
  return (cf_reg)_mm256_max_ps((__m256)a, (__m256)b);
#else
  return a > b ? a : b;
#endif
}

// Halves are combined until one number is left.
template <class Combine>
static inline float reduce_lanes(cf_reg v, Combine combine) {
  typedef float four __attribute__((vector_size(16)));
#if CF_WIDTH == 16
  typedef float eight __attribute__((vector_size(32)));
  const eight w = combine((eight)__builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7),
                          (eight)__builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15));
#else
  const cf_reg w = v;
#endif
#if CF_WIDTH >= 8
  four x = combine((four)__builtin_shufflevector(w, w, 0, 1, 2, 3), (four)__builtin_shufflevector(w, w, 4, 5, 6, 7));
#else
  four x = w;
#endif
  x = combine(x, (four)__builtin_shufflevector(x, x, 2, 3, 0, 1));
  return combine(x, (four)__builtin_shufflevector(x, x, 1, 0, 3, 2))[0];
}
struct Sum {
  template <class V>
  V operator()(V a, V b) const {
    return a + b;
  }
};
struct Larger {
  template <class V>
  V operator()(V a, V b) const {
    return a > b ? a : b;
  }
};
static inline float sum_lanes(cf_reg v) { return reduce_lanes(v, Sum()); }
static inline float max_lanes(cf_reg v) { return reduce_lanes(v, Larger()); }

// 2^x for x <= 0: -inf gives 0, NaN stays, 0 gives 1. Error below 1.3 units in the last place (to -126 without
// AVX-512).
static inline cf_reg exp2_negative(cf_reg x) {
#if CF_WIDTH == 16
  // f = x - floor(x); scalef multiplies by 2^floor(x), and by 0 for -inf
  const cf_reg f = (cf_reg)_mm512_reduce_ps((__m512)x, _MM_FROUND_TO_NEG_INF);
  const cf_reg p =
      1.0f +
      f * (0.69314706f +
           f * (0.24022931f + f * (0.055485282f + f * (0.0096754516f + f * (0.0012467845f + f * 0.00021612921f)))));
  return (cf_reg)_mm512_scalef_ps((__m512)p, (__m512)x);
#else
  // The exponent runs out at -126: the bits of what is below are a number under 2^-126, and 0 from -127 on (p is 1
  // there).
  const float magic = 12582912.0f;  // 1.5 * 2^23: adding it rounds to a whole number, left in the low bits
  const cf_reg bounded = larger(splat(-127.0f), x), shifted = bounded + magic, f = bounded - (shifted - magic);
  const cf_reg p =
      1.0f +
      f * (0.69314718f +
           f * (0.24022648f + f * (0.055503324f + f * (0.0096184369f + f * (0.0013398876f + f * 0.00015353362f)))));
  return (cf_reg)((cf_int)p + ((cf_int)shifted << 23));
#endif
}

// Natural logarithm of positive normal numbers: exponent plus 2 artanh((m-1)/(m+1)); NaN and inf give NaN.
static inline cf_reg natural_log(cf_reg value) {
  const cf_int bits = (cf_int)value;
  const cf_int exponent = (bits - 0x3f3504f3) >> 23;
  const cf_reg m = (cf_reg)(bits - (exponent << 23)), e = __builtin_convertvector(exponent, cf_reg);
  const cf_reg z = (m - 1.0f) / (m + 1.0f), w = z * z;
  const cf_reg series = w * (0.66666667f + w * (0.4f + w * (0.28571429f + w * (0.22222222f + w * 0.18181818f))));
  return e * 0.693145752f + ((2.0f * z + z * series) + e * 1.42860677e-6f) + (value - value);
}

// ln(1 + y), y >= 0
static inline cf_reg log_1_plus(cf_reg y) {
  const cf_reg u = 1.0f + y, lost = y > 1.0f ? 1.0f - (u - y) : y - (u - 1.0f);
  return natural_log(u) + lost / u;
}

// 16-bit floats in memory to a float row padded with -inf, and back (round to nearest even).
typedef unsigned short cf_half __attribute__((vector_size(CF_WIDTH * 2), aligned(2), may_alias));

static inline cf_reg widen(const unsigned short* p, bool bfloat) {
  const cf_int bits = __builtin_convertvector(*(const cf_half*)p, cf_int);
  if (bfloat) return (cf_reg)(bits << 16);
  const cf_int sign = (bits & 0x8000) << 16, rest = (bits & 0x7fff) << 13;
  const cf_reg value = (cf_reg)rest * 0x1p112f;  // moves the exponent, and makes subnormals normal
  const cf_int special = ((bits & 0x7c00) == 0x7c00) & 0x7f800000;
  return (cf_reg)((cf_int)value | special | sign);
}

static inline void narrow(cf_reg value, unsigned short* p, bool bfloat) {
  const cf_int all = (cf_int)value, sign = (all >> 16) & 0x8000, bits = all & 0x7fffffff;
  const cf_int nan = bits > 0x7f800000;
  cf_int result;
  if (bfloat) {
    result = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    result = nan ? (cf_int){} + 0x7fc0 : result;
  } else {
    const cf_int normal = (bits - 0x38000000 + 0xfff + ((bits >> 13) & 1)) >> 13;
    const cf_int small =
        (cf_int)((cf_reg)bits + 0.5f) - 0x3f000000;  // adding 1/2 rounds at 2^-24, the last bit of a half
    result = bits < 0x38800000 ? small : normal;
    result = bits >= 0x47800000 ? (cf_int){} + 0x7c00 : result;
    result = nan ? (cf_int){} + 0x7e00 : result;
  }
  *(cf_half*)p = __builtin_convertvector(result | sign, cf_half);
}

static void widen_row(const unsigned short* from, int64_t n, int64_t padded, bool bfloat, float* to) {
  int64_t i = 0;
  for (; i + CF_WIDTH <= n; i += CF_WIDTH) cf_store(to + i, widen(from + i, bfloat));
  if (i < n) {
    unsigned short rest[CF_WIDTH] = {};
    for (int k = 0; k < n - i; ++k) rest[k] = from[i + k];
    cf_store(to + i, widen(rest, bfloat));
  }
  for (i = n; i < padded; ++i) to[i] = kNothing;
}

static void narrow_row(const float* from, int64_t n, bool bfloat, unsigned short* to) {
  int64_t i = 0;
  for (; i + CF_WIDTH <= n; i += CF_WIDTH) narrow(cf_load(from + i), to + i, bfloat);
  if (i == n) return;
  float lanes[CF_WIDTH] = {};
  unsigned short rest[CF_WIDTH];
  for (int k = 0; k < n - i; ++k) lanes[k] = from[i + k];
  narrow(cf_load(lanes), rest, bfloat);
  for (int k = 0; k < n - i; ++k) to[i + k] = rest[k];
}
