// CUDA's arithmetic, bit, conversion, load and atomic functions by the host's own. Fast-math forms are exact here;
// fused multiply-adds are fused only where the source says so.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdio>

#define CF_SIMT_MIN_MAX(T)                         \
  inline T min(T a, T b) { return b < a ? b : a; } \
  inline T max(T a, T b) { return a < b ? b : a; }
CF_SIMT_MIN_MAX(int)
CF_SIMT_MIN_MAX(unsigned)
CF_SIMT_MIN_MAX(long)
CF_SIMT_MIN_MAX(unsigned long)
CF_SIMT_MIN_MAX(long long)
CF_SIMT_MIN_MAX(unsigned long long)
#undef CF_SIMT_MIN_MAX
inline float min(float a, float b) { return fminf(a, b); }
inline float max(float a, float b) { return fmaxf(a, b); }
inline double min(double a, double b) { return fmin(a, b); }
inline double max(double a, double b) { return fmax(a, b); }

inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
inline double rsqrt(double x) { return 1.0 / sqrt(x); }
inline float __expf(float x) { return expf(x); }
inline float __exp10f(float x) { return exp10f(x); }
inline float __logf(float x) { return logf(x); }
inline float __log2f(float x) { return log2f(x); }
inline float __log10f(float x) { return log10f(x); }
inline float __powf(float x, float y) { return powf(x, y); }
inline float __sinf(float x) { return sinf(x); }
inline float __cosf(float x) { return cosf(x); }
inline float __tanf(float x) { return tanf(x); }
inline void __sincosf(float x, float* s, float* c) { *s = sinf(x), *c = cosf(x); }
inline float sinpif(float x) { return static_cast<float>(sin(M_PI * fmod(static_cast<double>(x), 2.0))); }
inline float cospif(float x) { return static_cast<float>(cos(M_PI * fmod(static_cast<double>(x), 2.0))); }
inline void sincospif(float x, float* s, float* c) { *s = sinpif(x), *c = cospif(x); }
inline float __fdividef(float a, float b) { return a / b; }
inline float fdividef(float a, float b) { return a / b; }
inline float __saturatef(float x) { return x > 0.0f ? (x < 1.0f ? x : 1.0f) : 0.0f; }
inline float __frsqrt_rn(float x) { return static_cast<float>(1.0 / sqrt(static_cast<double>(x))); }
inline float __frcp_rn(float x) { return 1.0f / x; }
inline float __fsqrt_rn(float x) { return sqrtf(x); }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline double __dadd_rn(double a, double b) { return a + b; }
inline double __dmul_rn(double a, double b) { return a * b; }
inline double __fma_rn(double a, double b, double c) { return fma(a, b, c); }

template <class To, class From>
To cf_simt_bits(From value) {
  static_assert(sizeof(To) == sizeof(From), "same size");
  To to;
  std::memcpy(&to, &value, sizeof to);
  return to;
}
inline float __int_as_float(int x) { return cf_simt_bits<float>(x); }
inline float __uint_as_float(unsigned x) { return cf_simt_bits<float>(x); }
inline int __float_as_int(float x) { return cf_simt_bits<int>(x); }
inline unsigned __float_as_uint(float x) { return cf_simt_bits<unsigned>(x); }
inline double __longlong_as_double(long long x) { return cf_simt_bits<double>(x); }
inline long long __double_as_longlong(double x) { return cf_simt_bits<long long>(x); }
inline int __float2int_rn(float x) { return static_cast<int>(nearbyintf(x)); }
inline int __float2int_rz(float x) { return static_cast<int>(x); }
inline int __float2int_rd(float x) { return static_cast<int>(floorf(x)); }
inline int __float2int_ru(float x) { return static_cast<int>(ceilf(x)); }
inline unsigned __float2uint_rn(float x) { return static_cast<unsigned>(nearbyintf(x)); }
inline float __int2float_rn(int x) { return static_cast<float>(x); }
inline float __uint2float_rn(unsigned x) { return static_cast<float>(x); }
inline float __double2float_rn(double x) { return static_cast<float>(x); }

inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __clz(int x) { return x ? __builtin_clz(static_cast<unsigned>(x)) : 32; }
inline int __clzll(long long x) { return x ? __builtin_clzll(static_cast<unsigned long long>(x)) : 64; }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __ffsll(long long x) { return __builtin_ffsll(x); }
inline unsigned __brev(unsigned x) {
  unsigned y = 0;
  for (int i = 0; i < 32; ++i) y |= (x >> i & 1) << (31 - i);
  return y;
}
inline unsigned __umulhi(unsigned a, unsigned b) { return static_cast<unsigned>(static_cast<uint64_t>(a) * b >> 32); }
inline int __mulhi(int a, int b) { return static_cast<int>(static_cast<int64_t>(a) * b >> 32); }
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
  __extension__ typedef unsigned __int128 Wide;
  return static_cast<unsigned long long>(static_cast<Wide>(a) * b >> 64);
}
inline int __mul24(int a, int b) { return a * b; }
inline unsigned __funnelshift_l(unsigned low, unsigned high, unsigned shift) {
  return static_cast<unsigned>(((static_cast<uint64_t>(high) << 32 | low) << (shift & 31)) >> 32);
}
inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned shift) {
  return static_cast<unsigned>((static_cast<uint64_t>(high) << 32 | low) >> (shift & 31));
}

template <class T>
T __ldg(const T* p) {
  return *p;
}
template <class T>
T __ldca(const T* p) {
  return *p;
}
template <class T>
T __ldcg(const T* p) {
  return *p;
}
template <class T>
T __ldcs(const T* p) {
  return *p;
}
template <class T>
T __ldlu(const T* p) {
  return *p;
}
template <class T>
T __ldcv(const T* p) {
  return *p;
}
template <class T>
void __stwb(T* p, T value) {
  *p = value;
}
template <class T>
void __stcg(T* p, T value) {
  *p = value;
}
template <class T>
void __stcs(T* p, T value) {
  *p = value;
}
template <class T>
void __stwt(T* p, T value) {
  *p = value;
}

inline void __threadfence() {}
inline void __threadfence_block() {}
inline void __threadfence_system() {}
inline void __nanosleep(unsigned) {}
inline unsigned __activemask() { return ::chordfast::simt::live_mask(); }
[[noreturn]] inline void __trap() { ::chordfast::simt::stop("__trap was called"); }

// One operating-system thread runs everything, so plain reads and writes are atomic; their order follows the schedule.
template <class T>
using cf_simt_value = std::common_type_t<T>;
#define CF_SIMT_ATOMIC(name, expression)       \
  template <class T>                           \
  T name(T* address, cf_simt_value<T> value) { \
    const T old = *address;                    \
    *address = static_cast<T>(expression);     \
    return old;                                \
  }
CF_SIMT_ATOMIC(atomicAdd, old + value)
CF_SIMT_ATOMIC(atomicSub, old - value)
CF_SIMT_ATOMIC(atomicExch, value)
CF_SIMT_ATOMIC(atomicMin, value < old ? value : old)
CF_SIMT_ATOMIC(atomicMax, old < value ? value : old)
CF_SIMT_ATOMIC(atomicAnd, old& value)
CF_SIMT_ATOMIC(atomicOr, old | value)
CF_SIMT_ATOMIC(atomicXor, old ^ value)
CF_SIMT_ATOMIC(atomicInc, old >= value ? 0 : old + 1)
#undef CF_SIMT_ATOMIC
template <class T>
T atomicCAS(T* address, cf_simt_value<T> expected, cf_simt_value<T> value) {
  const T old = *address;
  if (old == expected) *address = value;
  return old;
}
