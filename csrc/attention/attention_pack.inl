// Part of attention_kernels.inl: rows of any type to and from rows of floats, transposition, dropout bits.
#include "attention/attention.h"
#include "attention/attention_kernels.h"
#include "common/simd.h"

namespace chordfast {
namespace CF_LEVEL {

typedef unsigned short cf_half __attribute__((vector_size(CF_WIDTH * 2), aligned(2), may_alias));
typedef unsigned int cf_uint __attribute__((vector_size(CF_WIDTH * 4)));

static inline cf_reg from_half(cf_half packed, int dtype) {
  const cf_int wide = __builtin_convertvector(packed, cf_int);
  if (dtype == CF_ATTENTION_BF16) return (cf_reg)(wide << 16);
  const cf_int magnitude = (wide & 0x7fff) << 13;
  cf_int bits =
      (cf_int)((cf_reg)magnitude * 5.192296858534828e33f);  // 2^112: rebases the exponent, subnormals included
  bits |= magnitude >= 0x0f800000 ? (cf_int){} + 0x7f800000 : (cf_int){};
  return (cf_reg)(bits | (wide & 0x8000) << 16);
}

// Rounds to nearest, ties to even.
static inline cf_half to_half(cf_reg value, int dtype) {
  const cf_int bits = (cf_int)value, magnitude = bits & 0x7fffffff;
  cf_int half;
  if (dtype == CF_ATTENTION_BF16) {
    half = (cf_int)((cf_uint)(bits + 0x7fff + ((cf_int)((cf_uint)bits >> 16) & 1)) >> 16);
    half = magnitude > 0x7f800000 ? (cf_int){} + 0x7fc0 : half;
  } else {
    const cf_reg magic = (cf_reg)((cf_int){} + 0x3f000000);  // 0.5: adding it leaves a subnormal's bits at the bottom
    const cf_int tiny = (cf_int)((cf_reg)magnitude + magic) - (cf_int)magic;
    const cf_int normal = (magnitude + 0xfff - (112 << 23) + (magnitude >> 13 & 1)) >> 13;
    const cf_int huge = magnitude > 0x7f800000 ? (cf_int){} + 0x7e00 : (cf_int){} + 0x7c00;
    half = magnitude < (113 << 23) ? tiny : magnitude >= (143 << 23) ? huge : normal;
    half |= (cf_int)((cf_uint)bits >> 16) & 0x8000;
  }
  return __builtin_convertvector(half, cf_half);
}

// to[i][c] = factor * from[i][c], zeros in columns width ... d - 1 and in masked rows, whatever stands there.
static void pack_rows(const void* from, int64_t stride, int n, int width, int dtype, const uint8_t* mask, float factor,
                      float* to, int d) {
  for (int i = 0; i < n; ++i) {
    float* line = to + (int64_t)i * d;
    const int whole = mask && !mask[i] ? 0 : width / CF_WIDTH * CF_WIDTH, rest = mask && !mask[i] ? 0 : width - whole;
    const float* wide = (const float*)from + i * stride;
    const unsigned short* narrow = (const unsigned short*)from + i * stride;
    for (int c = 0; c < whole; c += CF_WIDTH)
      cf_store(line + c, factor * (dtype ? from_half(*(const cf_half*)(narrow + c), dtype) : cf_load(wide + c)));
    if (whole == d) continue;
    cf_reg last = {};
    if (rest && !dtype) {
      float lanes[CF_WIDTH] = {};
      for (int c = 0; c < rest; ++c) lanes[c] = wide[whole + c];
      last = cf_load(lanes);
    } else if (rest) {
      unsigned short lanes[CF_WIDTH] = {};
      for (int c = 0; c < rest; ++c) lanes[c] = narrow[whole + c];
      last = from_half(*(const cf_half*)lanes, dtype);
    }
    cf_store(line + whole, factor * last);
    for (int c = whole + CF_WIDTH; c < d; c += CF_WIDTH) cf_store(line + c, (cf_reg){});
  }
}

static void store_row(const float* from, int width, float factor, int dtype, void* to, int64_t offset) {
  for (int c = 0; c < width; c += CF_WIDTH) {
    const cf_reg value = factor * cf_load(from + c);
    const int n = width - c;
    if (!dtype) {
      float* target = (float*)to + offset + c;
      float lanes[CF_WIDTH];
      cf_store(n < CF_WIDTH ? lanes : target, value);
      for (int i = 0; n < CF_WIDTH && i < n; ++i) target[i] = lanes[i];
    } else {
      unsigned short* target = (unsigned short*)to + offset + c;
      unsigned short lanes[CF_WIDTH];
      *(cf_half*)(n < CF_WIDTH ? lanes : target) = to_half(value, dtype);
      for (int i = 0; n < CF_WIDTH && i < n; ++i) target[i] = lanes[i];
    }
  }
}

// Asks for rows first ... first + n - 1 (not beyond `rows`) to be brought into the cache.
template <int kForWriting>
static void fetch_rows(const void* from, int64_t stride, int first, int n, int rows, int width, int dtype) {
  const int size = dtype ? 2 : 4;
  for (int i = first; i < first + n && i < rows; ++i)
    for (int byte = 0; byte < width * size; byte += 64)
      __builtin_prefetch((const char*)from + i * stride * size + byte, kForWriting);
}

// to[c][j] = from[j][c], c < width, zeros for n <= j < padded; a perfect shuffle of CF_WIDTH rows, log2(CF_WIDTH)
// times.
static void transpose(const float* from, int n, int d, int width, float* to, int padded) {
  for (int j = 0; j < padded; j += CF_WIDTH)
    for (int c = 0; c < width; c += CF_WIDTH) {
      cf_reg a[CF_WIDTH], b[CF_WIDTH];
#pragma GCC unroll 16
      for (int i = 0; i < CF_WIDTH; ++i) a[i] = j + i < n ? cf_load(from + (int64_t)(j + i) * d + c) : (cf_reg){};
#pragma GCC unroll 4
      for (int step = 1; step < CF_WIDTH; step *= 2) {
#pragma GCC unroll 8
        for (int i = 0; i < CF_WIDTH / 2; ++i) {
          b[2 * i] = CF_ZIP_LOW(a[i], a[i + CF_WIDTH / 2]);
          b[2 * i + 1] = CF_ZIP_HIGH(a[i], a[i + CF_WIDTH / 2]);
        }
#pragma GCC unroll 16
        for (int i = 0; i < CF_WIDTH; ++i) a[i] = b[i];
      }
      for (int i = 0; i < CF_WIDTH && c + i < width; ++i) cf_store(to + (int64_t)(c + i) * padded + j, a[i]);
    }
}

static inline void multiply_wide(cf_uint a, unsigned int factor, cf_uint* high, cf_uint* low) {
#if defined(__AVX512F__)
  const __m512i f = _mm512_set1_epi64(factor), even = _mm512_mul_epu32((__m512i)a, f);
  const __m512i odd = _mm512_mul_epu32(_mm512_srli_epi64((__m512i)a, 32), f);
  *high = (cf_uint)_mm512_mask_blend_epi32(0xaaaa, _mm512_srli_epi64(even, 32), odd);
  *low = (cf_uint)_mm512_mask_blend_epi32(0xaaaa, even, _mm512_slli_epi64(odd, 32));
#elif defined(__AVX2__)
  const __m256i f = _mm256_set1_epi64x(factor), even = _mm256_mul_epu32((__m256i)a, f);
  const __m256i odd = _mm256_mul_epu32(_mm256_srli_epi64((__m256i)a, 32), f);
  *high = (cf_uint)_mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xaa);
  *low = (cf_uint)_mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xaa);
#else
  for (int i = 0; i < CF_WIDTH; ++i) {
    const unsigned long long product = (unsigned long long)a[i] * factor;
    (*high)[i] = (unsigned int)(product >> 32);
    (*low)[i] = (unsigned int)product;
  }
#endif
}

// keep[r][j], r < 16, keys low ... high - 1: all bits set where the score of query i0 + r is kept (attention_philox.h).
static void keep_bits(const AttentionHead& h, int i0, int low, int high, int* keep, int pitch) {
  cf_uint lane = {};
  for (int i = 0; i < CF_WIDTH; ++i) lane[i] = (unsigned)(i / 8 * 64 + i % 8);
  for (int r = 0; r < 8; ++r)
    for (int j = low / 16 * 16; j < high; j += CF_WIDTH < 16 ? 16 : 32)
      for (int c = 0; c < 8; c += CF_WIDTH) {
        cf_uint x0 = lane + (unsigned)(((i0 / 16 * 16 + j / 16) * 8 + r) * 8 + c), x1 = (cf_uint){} + h.high;
        unsigned int key = h.key;
#pragma GCC unroll 10
        for (int round = 0; round < 10; ++round, key += 0x9E3779B9u) {
          cf_uint top, bottom;
          multiply_wide(x0, 0xD256D193u, &top, &bottom);
          x0 = top ^ x1 ^ key;
          x1 = bottom;
        }
        const int limit = (int)h.threshold;
        const cf_int a = (cf_int)(x0 & 0xffffu) < limit, b = (cf_int)(x0 >> 16) < limit;
        const cf_int e = (cf_int)(x1 & 0xffffu) < limit, f = (cf_int)(x1 >> 16) < limit;
        float *upper = (float*)keep + r * pitch + j + c, *lower = upper + 8 * pitch;
#if CF_WIDTH == 16  // lanes 0 ... 7 belong to one block of 16 keys, the rest to the next
        cf_store(upper, (cf_reg)__builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23));
        cf_store(upper + 16,
                 (cf_reg)__builtin_shufflevector(a, b, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31));
        cf_store(lower, (cf_reg)__builtin_shufflevector(e, f, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23));
        cf_store(lower + 16,
                 (cf_reg)__builtin_shufflevector(e, f, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31));
#else
        cf_store(upper, (cf_reg)a);
        cf_store(upper + 8, (cf_reg)b);
        cf_store(lower, (cf_reg)e);
        cf_store(lower + 8, (cf_reg)f);
#endif
      }
}

}  // namespace CF_LEVEL
}  // namespace chordfast
