// Tensor-core products of one warp, 16 x 16 by 16 x 8, half-precision factors and fp32 sums (PTX mma.sync.m16n8k16),
// and the loads that bring shared memory into their layout (ldmatrix). T is __half or __nv_bfloat16. All 32 lanes must
// call.
//
// Which lane holds what, with g = lane / 4 and t = lane % 4 (PTX ISA, "Matrix Fragments for mma.m16n8k16"); each 32-bit
// register holds two neighbours, the lower index in the lower half:
//   a[0] A[g][2t..], a[1] A[g + 8][2t..], a[2] A[g][2t + 8..], a[3] A[g + 8][2t + 8..]
//   b[0] B[2t..][g], b[1] B[2t + 8..][g]
//   c[0] c[1] C[g][2t..], c[2] c[3] C[g + 8][2t..]
#pragma once

#include <cstdint>

#include "simt/simt.h"

namespace chordfast {

template <class T>
struct Pair;
template <>
struct Pair<__half> {
  using type = __half2;
  __device__ static __half2 from(float low, float high) { return __floats2half2_rn(low, high); }
};
template <>
struct Pair<__nv_bfloat16> {
  using type = __nv_bfloat162;
  __device__ static __nv_bfloat162 from(float low, float high) { return __floats2bfloat162_rn(low, high); }
};

// Two floats rounded to T in one register, as the fragments hold them.
template <class T>
__device__ __forceinline__ uint32_t pack_pair(float low, float high) {
  const typename Pair<T>::type pair = Pair<T>::from(low, high);
  return *reinterpret_cast<const uint32_t*>(&pair);
}

#ifdef CF_SIMT

namespace simt {

struct MmaIn {
  uint32_t a[4], b[2];
  float c[4];
};
struct MmaOut {
  float d[4];
};

template <class T>
inline double half_of(uint32_t pair, int high) {
  const uint16_t bits = static_cast<uint16_t>(high ? pair >> 16 : pair);
  T value;
  std::memcpy(static_cast<void*>(&value), &bits, 2);
  return static_cast<double>(static_cast<float>(value));
}

// Products and sums in double, one rounding: the hardware's own rounding of partial sums is not specified.
template <class T>
void mma(const MmaIn* const* in, MmaOut* const* out, unsigned) {
  double a[16][16], b[16][8];
  for (int lane = 0; lane < 32; ++lane) {
    const int g = lane / 4, t = lane % 4;
    for (int half = 0; half < 2; ++half) {
      for (int r = 0; r < 4; ++r) a[g + 8 * (r & 1)][2 * t + 8 * (r >> 1) + half] = half_of<T>(in[lane]->a[r], half);
      for (int r = 0; r < 2; ++r) b[2 * t + 8 * r + half][g] = half_of<T>(in[lane]->b[r], half);
    }
  }
  for (int lane = 0; lane < 32; ++lane)
    for (int r = 0; r < 4; ++r) {
      const int row = lane / 4 + 8 * (r >> 1), column = 2 * (lane % 4) + (r & 1);
      double sum = in[lane]->c[r];
      for (int k = 0; k < 16; ++k) sum += a[row][k] * b[k][column];
      out[lane]->d[r] = static_cast<float>(sum);
    }
}

struct MatrixRow {
  const void* row;
};
template <int N>
struct Registers {
  uint32_t r[N];
};

// Lanes 8i..8i+7 give the rows of the i-th 8 x 8 matrix; with fewer than four matrices the other lanes' rows are
// unused.
template <int N, bool transposed>
void load_matrices(const MatrixRow* const* in, Registers<N>* const* out, unsigned) {
  for (int i = 0; i < N; ++i) {
    uint16_t m[8][8];
    for (int row = 0; row < 8; ++row) std::memcpy(m[row], in[8 * i + row]->row, 16);
    for (int lane = 0; lane < 32; ++lane) {
      const int g = lane / 4, t = lane % 4;
      const uint16_t low = transposed ? m[2 * t][g] : m[g][2 * t],
                     high = transposed ? m[2 * t + 1][g] : m[g][2 * t + 1];
      out[lane]->r[i] = static_cast<uint32_t>(high) << 16 | low;
    }
  }
}

}  // namespace simt

// d = A B + c.
template <class T>
void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], const float (&c)[4], CF_SIMT_SITE) {
  const simt::MmaIn in{{a[0], a[1], a[2], a[3]}, {b[0], b[1]}, {c[0], c[1], c[2], c[3]}};
  const simt::MmaOut out =
      simt::warp_exchange<simt::MmaIn, simt::MmaOut, simt::mma<T>>("mma.sync", 0xffffffffu, in, CF_SIMT_HERE);
  for (int i = 0; i < 4; ++i) d[i] = out.d[i];
}

// N = 1, 2 or 4 matrices of 8 x 8 halves; `row` is this lane's row (16 bytes in shared memory, so aligned).
template <int N, bool transposed>
void load_matrix(uint32_t (&r)[N], const void* row, CF_SIMT_SITE) {
  if (reinterpret_cast<uintptr_t>(row) % 16)
    simt::stop("ldmatrix (%s:%d): row is not aligned to 16 bytes", cf_file, cf_line);
  const auto out = simt::warp_exchange<simt::MatrixRow, simt::Registers<N>, simt::load_matrices<N, transposed>>(
      "ldmatrix", 0xffffffffu, {row}, CF_SIMT_HERE);
  for (int i = 0; i < N; ++i) r[i] = out.r[i];
}

#else

#define CF_MMA(type)                                                                                                \
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32." type "." type                                               \
               ".f32 "                                                                                              \
               "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%10, %11, %12, %13};"                                \
               : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])                                                     \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "f"(c[0]), "f"(c[1]), "f"(c[2]), \
                 "f"(c[3]))

// d = A B + c.
template <class T>
__device__ __forceinline__ void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                                             const float (&c)[4]);
template <>
__device__ __forceinline__ void mma_m16n8k16<__half>(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                                                     const float (&c)[4]) {
  CF_MMA("f16");
}
template <>
__device__ __forceinline__ void mma_m16n8k16<__nv_bfloat16>(float (&d)[4], const uint32_t (&a)[4],
                                                            const uint32_t (&b)[2], const float (&c)[4]) {
  CF_MMA("bf16");
}
#undef CF_MMA

// N = 1, 2 or 4 matrices of 8 x 8 halves; `row` is this lane's row (16 bytes in shared memory, so aligned).
template <int N, bool transposed>
__device__ __forceinline__ void load_matrix(uint32_t (&r)[N], const void* row) {
  static_assert(N == 1 || N == 2 || N == 4, "1, 2 or 4 matrices");
  const uint32_t address = static_cast<uint32_t>(__cvta_generic_to_shared(row));
  if constexpr (N == 1 && !transposed)
    asm volatile("ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%0}, [%1];" : "=r"(r[0]) : "r"(address) : "memory");
  if constexpr (N == 1 && transposed)
    asm volatile("ldmatrix.sync.aligned.m8n8.x1.trans.shared.b16 {%0}, [%1];" : "=r"(r[0]) : "r"(address) : "memory");
  if constexpr (N == 2 && !transposed)
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
                 : "=r"(r[0]), "=r"(r[1])
                 : "r"(address)
                 : "memory");
  if constexpr (N == 2 && transposed)
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
                 : "=r"(r[0]), "=r"(r[1])
                 : "r"(address)
                 : "memory");
  if constexpr (N == 4 && !transposed)
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address)
                 : "memory");
  if constexpr (N == 4 && transposed)
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address)
                 : "memory");
}

#endif

}  // namespace chordfast
