// Inside namespace CF_LEVEL: parts of rows of any type as floats, and the dropout bits of a run of elements.
typedef unsigned short cf_half __attribute__((vector_size(CF_WIDTH * 2), aligned(2), may_alias));

static inline cf_reg splat(float x) { return x - (cf_reg){}; }

// kType: CF_NORM_F32, CF_NORM_F16, CF_NORM_BF16
template <int kType>
static inline cf_reg widen(cf_half h) {
  const cf_int bits = __builtin_convertvector(h, cf_int);
  if (kType == 2) return (cf_reg)(bits << 16);
#if CF_WIDTH == 16
  return (cf_reg)_mm512_cvtph_ps((__m256i)h);
#else
  const cf_int sign = (bits & 0x8000) << 16, rest = (bits & 0x7fff) << 13;
  const cf_reg value = (cf_reg)rest * 0x1p112f;  // moves the exponent, and makes subnormals normal
  const cf_int special = ((bits & 0x7c00) == 0x7c00) & 0x7f800000;
  return (cf_reg)((cf_int)value | special | sign);
#endif
}

// Rounds to nearest even.
template <int kType>
static inline cf_half narrow(cf_reg value) {
  const cf_int all = (cf_int)value, sign = (all >> 16) & 0x8000, bits = all & 0x7fffffff;
  const cf_int nan = bits > 0x7f800000;
  cf_int result;
  if (kType == 2) {
    result = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    result = nan ? (cf_int){} + 0x7fc0 : result;
  } else {
#if CF_WIDTH == 16
    return (cf_half)_mm512_cvtps_ph((__m512)value, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#endif
    const cf_int normal = (bits - 0x38000000 + 0xfff + ((bits >> 13) & 1)) >> 13;
    const cf_int small = (cf_int)((cf_reg)bits + 0.5f) - 0x3f000000;  // adding 1/2 rounds at 2^-24, a half's last bit
    result = bits < 0x38800000 ? small : normal;
    result = bits >= 0x47800000 ? (cf_int){} + 0x7c00 : result;
    result = nan ? (cf_int){} + 0x7e00 : result;
  }
  return __builtin_convertvector(result | sign, cf_half);
}

// What a value is after it was stored.
template <int kType>
static inline cf_reg rounded(cf_reg v) {
  if constexpr (kType == 0) return v;
  if constexpr (kType != 0) return widen<kType>(narrow<kType>(v));
}

// Elements i ... i + CF_WIDTH - 1, of which n exist; zeros behind them.
template <int kType>
static inline cf_reg get(const void* p, int64_t i, int64_t n) {
  if constexpr (kType == 0) {
    const float* from = (const float*)p + i;
    if (__builtin_expect(n >= CF_WIDTH, 1)) return cf_load(from);
    float lanes[CF_WIDTH] = {};
    for (int k = 0; k < n; ++k) lanes[k] = from[k];
    return cf_load(lanes);
  } else {
    const unsigned short* from = (const unsigned short*)p + i;
    if (__builtin_expect(n >= CF_WIDTH, 1)) return widen<kType>(*(const cf_half*)from);
    unsigned short lanes[CF_WIDTH] = {};
    for (int k = 0; k < n; ++k) lanes[k] = from[k];
    return widen<kType>(*(const cf_half*)lanes);
  }
}

template <int kType>
static inline void put(void* p, int64_t i, int64_t n, cf_reg v) {
  if constexpr (kType == 0) {
    float* to = (float*)p + i;
    if (__builtin_expect(n >= CF_WIDTH, 1)) return cf_store(to, v);
    float lanes[CF_WIDTH];
    cf_store(lanes, v);
    for (int k = 0; k < n; ++k) to[k] = lanes[k];
  } else {
    unsigned short* to = (unsigned short*)p + i;
    const cf_half h = narrow<kType>(v);
    if (__builtin_expect(n >= CF_WIDTH, 1)) {
      *(cf_half*)to = h;
      return;
    }
    unsigned short lanes[CF_WIDTH];
    *(cf_half*)lanes = h;
    for (int k = 0; k < n; ++k) to[k] = lanes[k];
  }
}

// One bit an element, from element `first` (a multiple of 32) on, 32 at a time: the four 16-bit parts of eight
// counters.
static void make_bits(const NormDropout& d, int64_t first, int64_t words, unsigned int* bits) {
  const unsigned long long start = (unsigned long long)first / 4;
#if CF_WIDTH == 16
  const __m512i factor = _mm512_set1_epi64(0xD256D193), limit = _mm512_set1_epi16((short)d.threshold);
  const __m512i low = _mm512_set1_epi64(0xffffffff), lane = _mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7);
  const __m512i high = _mm512_set1_epi64(d.high);
  for (int64_t w = 0; w < words; w += 4) {  // four at once, whose multiplications overlap; what is too much is lost
    __m512i x0[4], x1[4];
    for (int k = 0; k < 4; ++k) {
      const __m512i n = _mm512_add_epi64(_mm512_set1_epi64((long long)(start + 8 * (w + k))), lane);
      x0[k] = n;  // the multiplication takes the lower halves only
      x1[k] = _mm512_xor_si512(_mm512_srli_epi64(n, 32), high);
    }
    unsigned int key = d.key;
#pragma GCC unroll 10
    for (int round = 0; round < 10; ++round, key += 0x9E3779B9u) {
      const __m512i k0 = _mm512_set1_epi64(key);
#pragma GCC unroll 4
      for (int k = 0; k < 4; ++k) {
        const __m512i product = _mm512_mul_epu32(x0[k], factor);
        x0[k] = _mm512_ternarylogic_epi64(_mm512_srli_epi64(product, 32), k0, x1[k], 0x96);
        x1[k] = product;
      }
    }
    for (int k = 0; k < 4 && w + k < words; ++k) {
      const __m512i all = _mm512_or_si512(_mm512_and_si512(x0[k], low), _mm512_slli_epi64(x1[k], 32));
      bits[w + k] = (unsigned int)_mm512_cmplt_epu16_mask(all, limit);
    }
  }
#elif CF_WIDTH == 8
  const __m256i factor = _mm256_set1_epi64x(0xD256D193), low = _mm256_set1_epi64x(0xffffffff);
  const __m256i flip = _mm256_set1_epi16((short)0x8000), limit = _mm256_set1_epi16((short)(d.threshold ^ 0x8000));
  const __m256i high = _mm256_set1_epi64x(d.high);
  for (int64_t w = 0; w < words; ++w) {
    __m256i x0[2], x1[2];
    for (int k = 0; k < 2; ++k) {
      const __m256i n =
          _mm256_add_epi64(_mm256_set1_epi64x((long long)(start + 8 * w + 4 * k)), _mm256_setr_epi64x(0, 1, 2, 3));
      x0[k] = n;
      x1[k] = _mm256_xor_si256(_mm256_srli_epi64(n, 32), high);
    }
    unsigned int key = d.key;
#pragma GCC unroll 10
    for (int round = 0; round < 10; ++round, key += 0x9E3779B9u)
      for (int k = 0; k < 2; ++k) {
        const __m256i product = _mm256_mul_epu32(x0[k], factor);
        x0[k] = _mm256_xor_si256(_mm256_xor_si256(_mm256_srli_epi64(product, 32), _mm256_set1_epi64x(key)), x1[k]);
        x1[k] = product;
      }
    __m256i kept[2];
    for (int k = 0; k < 2; ++k) {
      const __m256i all = _mm256_or_si256(_mm256_and_si256(x0[k], low), _mm256_slli_epi64(x1[k], 32));
      kept[k] = _mm256_cmpgt_epi16(limit, _mm256_xor_si256(all, flip));
    }
    const __m256i packed = _mm256_permute4x64_epi64(_mm256_packs_epi16(kept[0], kept[1]), 0xd8);
    bits[w] = (unsigned int)_mm256_movemask_epi8(packed);
  }
#else
  for (int64_t w = 0; w < words; ++w) {
    unsigned int word = 0;
    for (int i = 0; i < 8; ++i) {
      const unsigned long long n = start + 8 * w + i;
      unsigned int x0 = (unsigned int)n, x1 = (unsigned int)(n >> 32) ^ d.high, key = d.key;
      for (int round = 0; round < 10; ++round, key += 0x9E3779B9u) {
        const unsigned long long product = (unsigned long long)x0 * 0xD256D193u;
        x0 = (unsigned int)(product >> 32) ^ key ^ x1;
        x1 = (unsigned int)product;
      }
      word |= (unsigned int)((x0 & 0xffff) < d.threshold) << (4 * i);
      word |= (unsigned int)((x0 >> 16) < d.threshold) << (4 * i + 1);
      word |= (unsigned int)((x1 & 0xffff) < d.threshold) << (4 * i + 2);
      word |= (unsigned int)((x1 >> 16) < d.threshold) << (4 * i + 3);
    }
    bits[w] = word;
  }
#endif
}

// The bits of a run of elements, and where they begin in `words`.
struct Bits {
  const unsigned char* bytes;
  int64_t begin;
};

static Bits bits_of(const NormDropout& d, int64_t first, int64_t count, float* to) {
  const int64_t aligned = first / 32 * 32;
  make_bits(d, aligned, (first + count - aligned + 31) / 32, (unsigned int*)to);
  return {(const unsigned char*)to, first - aligned};
}

// v where the bit of element i of the run and of its neighbours is set, else 0.
static inline cf_reg kept(const Bits& bits, int64_t i, cf_reg v) {
  const int64_t at = bits.begin + i;
  unsigned int word;
  __builtin_memcpy(&word, bits.bytes + (at >> 3), 4);
  word >>= at & 7;
#if CF_WIDTH == 16
  return (cf_reg)_mm512_maskz_mov_ps((__mmask16)word, (__m512)v);
#else
  cf_int lane;
  for (int k = 0; k < CF_WIDTH; ++k) lane[k] = 1 << k;
  return (cf_reg)((cf_int)v & ((((int)word - (cf_int){}) & lane) == lane));
#endif
}
