// Vectors of CF_WIDTH floats by the compiler's vector extensions; included only inside per-level sources (no std
// headers, so that no inline function compiled for AVX-512 can be linked into code that runs elsewhere).
#pragma once

#if defined(__x86_64__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpragmas"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // GCC 12's own header, a false alarm
#include <immintrin.h>
#pragma GCC diagnostic pop
#endif

#if defined(__AVX512F__)
#define CF_WIDTH 16
#elif defined(__AVX2__)
#define CF_WIDTH 8
#else
#define CF_WIDTH 4
#endif

typedef float cf_vec __attribute__((vector_size(CF_WIDTH * 4), aligned(4), may_alias));
typedef float cf_reg __attribute__((vector_size(CF_WIDTH * 4)));
typedef int cf_int __attribute__((vector_size(CF_WIDTH * 4)));
typedef double cf_pairs __attribute__((vector_size(CF_WIDTH * 4)));

#if CF_WIDTH == 16
#define CF_REVERSE(a) __builtin_shufflevector(a, a, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0)
#define CF_ZIP_LOW(a, b) __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
#define CF_ZIP_HIGH(a, b) __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)
#define CF_EVEN(a, b) __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30)
#define CF_ODD(a, b) __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31)
#elif CF_WIDTH == 8
#define CF_REVERSE(a) __builtin_shufflevector(a, a, 7, 6, 5, 4, 3, 2, 1, 0)
#define CF_ZIP_LOW(a, b) __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11)
#define CF_ZIP_HIGH(a, b) __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15)
#define CF_EVEN(a, b) __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14)
#define CF_ODD(a, b) __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15)
#else
#define CF_REVERSE(a) __builtin_shufflevector(a, a, 3, 2, 1, 0)
#define CF_ZIP_LOW(a, b) __builtin_shufflevector(a, b, 0, 4, 1, 5)
#define CF_ZIP_HIGH(a, b) __builtin_shufflevector(a, b, 2, 6, 3, 7)
#define CF_EVEN(a, b) __builtin_shufflevector(a, b, 0, 2, 4, 6)
#define CF_ODD(a, b) __builtin_shufflevector(a, b, 1, 3, 5, 7)
#endif

static inline cf_reg cf_load(const float* p) { return *(const cf_vec*)p; }
static inline void cf_store(float* p, cf_reg v) { *(cf_vec*)p = v; }

// Two floats (p[0], p[1]) repeated over the whole vector: one broadcast load of 64 bits.
static inline cf_reg cf_broadcast_pair(const float* p) {
  double pair;
  __builtin_memcpy(&pair, p, sizeof pair);
  cf_pairs all = pair - (cf_pairs){};
  return (cf_reg)all;
}

typedef float cf_quad __attribute__((vector_size(16)));

// Sum of the lanes, halving the vector in registers.
static inline float cf_sum(cf_reg v) {
#if CF_WIDTH == 16
  const cf_quad a = __builtin_shufflevector(v, v, 0, 1, 2, 3) + __builtin_shufflevector(v, v, 8, 9, 10, 11);
  const cf_quad b = __builtin_shufflevector(v, v, 4, 5, 6, 7) + __builtin_shufflevector(v, v, 12, 13, 14, 15);
  const cf_quad quad = a + b;
#elif CF_WIDTH == 8
  const cf_quad quad = __builtin_shufflevector(v, v, 0, 1, 2, 3) + __builtin_shufflevector(v, v, 4, 5, 6, 7);
#else
  const cf_quad quad = v;
#endif
  const cf_quad pair = quad + __builtin_shufflevector(quad, quad, 2, 3, 0, 1);
  return pair[0] + pair[1];
}

static inline cf_reg cf_sqrt(cf_reg v) {
#if defined(__AVX512F__)
  return (cf_reg)_mm512_sqrt_ps((__m512)v);
#elif defined(__AVX2__)
  return (cf_reg)_mm256_sqrt_ps((__m256)v);
#elif defined(__x86_64__)
  return (cf_reg)_mm_sqrt_ps((__m128)v);
#else
  for (int i = 0; i < CF_WIDTH; ++i) v[i] = __builtin_sqrtf(v[i]);
  return v;
#endif
}
