// Compiled once per SIMD level inside namespace CF_LEVEL. A head is handled in tiles of 16 queries; scores live in a
// tile of scratch that stays in the first-level cache. Sums run over keys in rising order: the bits depend on the SIMD
// level only.
#include "attention/attention.h"
#include "attention/attention_kernels.h"
#include "attention/attention_pack.inl"
#include "common/simd.h"

namespace chordfast {
namespace CF_LEVEL {

#include "common/gemm.inl"

enum { kTile = 16 };

// 2^x for x <= 0 to 1 ulp or so; 0 far below, so also for -inf; NaN stays NaN.
static inline cf_reg power_of_two(cf_reg x) {
#if defined(__AVX512F__)
  const cf_reg bounded = (cf_reg)_mm512_max_ps(_mm512_set1_ps(-150.0f), (__m512)x);  // of NaN: the second
  const cf_reg whole = (cf_reg)_mm512_roundscale_ps((__m512)bounded, 8);
#else
  const cf_reg bounded = x < -126.0f ? (cf_reg){} - 126.0f : x;
  const cf_reg shifted = bounded + 12582912.0f;  // 1.5 * 2^23: the integer part in the low bits
  const cf_reg whole = shifted - 12582912.0f;
#endif
  const cf_reg f = bounded - whole;
  cf_reg y = 1.3333558e-3f + f * 1.5403530e-4f;
  y = y * f + 9.6181291e-3f;
  y = y * f + 5.5504109e-2f;
  y = y * f + 2.4022651e-1f;
  y = y * f + 6.9314718e-1f;
  y = y * f + 1.0f;
#if defined(__AVX512F__)
  return (cf_reg)_mm512_scalef_ps((__m512)y, (__m512)whole);
#else
  const cf_reg power = (cf_reg)((cf_int)y + ((cf_int)shifted << 23));
  return x < -126.0f ? (cf_reg){} : x == x ? power : x;
#endif
}

// Logarithm to base 2 of positive normal floats: exponent plus 2/ln 2 * artanh((m - 1)/(m + 1)), m in [sqrt(1/2),
// sqrt(2)).
static inline cf_reg logarithm(cf_reg value) {
  const cf_int bits = (cf_int)value, exponent = (bits - 0x3f3504f3) >> 23;
  const cf_reg m = (cf_reg)(bits - (exponent << 23)), z = (m - 1.0f) / (m + 1.0f), w = z * z;
  const cf_reg series = 2.8853901f + w * (0.96179670f + w * (0.57707802f + w * (0.41219858f + w * 0.32059890f)));
  return __builtin_convertvector(exponent, cf_reg) + z * series;
}

static inline int least(int a, int b) { return a < b ? a : b; }

static inline cf_reg greater(cf_reg a, cf_reg b) { return a > b ? a : b; }

template <bool kLargest>
static inline cf_reg merge(cf_reg a, cf_reg b) {
  const cf_reg low = CF_ZIP_LOW(a, b), high = CF_ZIP_HIGH(a, b);
  return kLargest ? greater(low, high) : low + high;
}

// Lane r of the result: sum, or largest, of the lanes of row r, r < kRows; all rows in one tree of shuffles.
template <bool kLargest>
static inline cf_reg across(const cf_reg* row) {
#if CF_WIDTH == 16
  const cf_reg even = merge<kLargest>(merge<kLargest>(row[0], row[4]), merge<kLargest>(row[2], row[6]));
  const cf_reg odd = merge<kLargest>(merge<kLargest>(row[1], row[5]), merge<kLargest>(row[3], row[7]));
#else
  const cf_reg even = merge<kLargest>(row[0], row[2]), odd = merge<kLargest>(row[1], row[3]);
#endif
  const cf_reg both = merge<kLargest>(even, odd);
#if CF_WIDTH > 4  // two lanes a row are left
  float lanes[2 * CF_WIDTH];
  cf_store(lanes, both);
  cf_store(lanes + CF_WIDTH, both);
  const cf_reg other = cf_load(lanes + CF_WIDTH / 2);
  return kLargest ? greater(both, other) : both + other;
#else
  return both;
#endif
}

// Keys that any of the queries first ... last may see, to whole vectors; empty when high <= low.
static inline void visible(const AttentionHead& h, int first, int last, int* low, int* high) {
  const int padded = (h.keys + CF_WIDTH - 1) / CF_WIDTH * CF_WIDTH;
  *low = h.direction == CF_ATTENTION_BACKWARD ? first / CF_WIDTH * CF_WIDTH : 0;
  *high = padded;
  if (h.direction == CF_ATTENTION_FORWARD && last < h.keys) *high = last / CF_WIDTH * CF_WIDTH + CF_WIDTH;
}

// Whether query i sees all of keys j ... j + CF_WIDTH - 1.
static inline int whole(const AttentionHead& h, int i, int j) {
  if (h.mask || j + CF_WIDTH > h.keys) return 0;
  return h.direction == CF_ATTENTION_FORWARD    ? j + CF_WIDTH - 1 <= i
         : h.direction == CF_ATTENTION_BACKWARD ? j >= i
                                                : 1;
}

// Scores of query i and keys j ... j + CF_WIDTH - 1 with -inf where it does not see them.
static inline cf_reg seen(const AttentionHead& h, int i, int j, cf_int lanes, cf_reg scores, const float* bias) {
  const cf_int key = lanes + j, forward = key <= i, backward = key >= i;
  const cf_int allowed = h.direction == CF_ATTENTION_FORWARD    ? forward
                         : h.direction == CF_ATTENTION_BACKWARD ? backward
                                                                : key >= 0;
  return allowed ? scores + cf_load(bias + j) : (cf_reg){} - __builtin_inff();
}

// Padding keys, and those that the caller masks: -inf is added to their scores.
static void key_bias(const AttentionHead& h, float* bias, int padded) {
  for (int j = 0; j < padded; ++j) bias[j] = j < h.keys && (!h.mask || h.mask[j]) ? 0.0f : -__builtin_inff();
}

static inline cf_int first_lanes() {
  cf_int lanes = {};
  for (int i = 0; i < CF_WIDTH; ++i) lanes[i] = i;
  return lanes;
}

static void forward(const AttentionHead& h, float* scratch) {
  const int d = (h.width + CF_WIDTH - 1) / CF_WIDTH * CF_WIDTH, columns = d / CF_WIDTH;
  const int padded = (h.keys + CF_WIDTH - 1) / CF_WIDTH * CF_WIDTH, pitch = (h.keys + 15) / 16 * 16 + 16;
  float* q = scratch;
  float* keys = q + (h.queries + 15) / 16 * 16 * d;  // transposed
  float* v = keys + (int64_t)d * padded;
  float* tile = v + (int64_t)padded * d;
  float* keep = tile + kTile * pitch;
  float* bias = keep + kTile * pitch;
  float* out = bias + padded;  // [kRows][d]
  const float kLog2e = 1.44269504088896f;
  pack_rows(h.q, h.q_stride, h.queries, h.width, h.dtype, nullptr, h.scale * kLog2e, q, d);
  pack_rows(h.k, h.k_stride, h.keys, h.width, h.dtype, h.mask, 1.0f, v, d);  // v's place, for a moment
  transpose(v, h.keys, d, h.width, keys, padded);
  pack_rows(h.v, h.v_stride, h.keys, h.width, h.dtype, h.mask, 1.0f, v, d);
  key_bias(h, bias, padded);
  const cf_int lanes = first_lanes();
  const float kept = h.threshold ? 65536.0f / (float)h.threshold : 1.0f;
  for (int i0 = 0; i0 < h.queries; i0 += kTile) {
    int low, high;
    const int tile_rows = least(kTile, h.queries - i0);
    visible(h, i0, i0 + tile_rows - 1, &low, &high);
    fetch_rows<1>(h.out, h.out_stride, i0, tile_rows, h.queries, h.width, h.dtype);
    if (h.next) {
      const int share = (h.keys * kTile + h.queries - 1) / h.queries, first = i0 / kTile * share;
      fetch_rows<0>(h.next->q, h.q_stride, i0, kTile, h.queries, h.width, h.dtype);
      fetch_rows<0>(h.next->k, h.k_stride, first, share, h.keys, h.width, h.dtype);
      fetch_rows<0>(h.next->v, h.v_stride, first, share, h.keys, h.width, h.dtype);
    }
    if (h.threshold && high > low) keep_bits(h, i0, low, high, (int*)keep, pitch);
    for (int r0 = 0; r0 < tile_rows; r0 += kRows) {
      const int n = least(kRows, tile_rows - r0);
      visible(h, i0 + r0, i0 + r0 + n - 1, &low, &high);
      const int range = high > low ? high - low : 0;
      float* scores = tile + r0 * pitch;
      gemm<false>(q + (i0 + r0) * d, d, 1, keys + low, padded, h.width, scores + low, pitch, n, range / CF_WIDTH);
      cf_reg most[kRows] = {}, total[kRows] = {};
      for (int r = 0; r < n; ++r) {
        float* line = scores + r * pitch;
        const int i = i0 + r0 + r;
        cf_reg top = (cf_reg){} - __builtin_inff();
        for (int j = low; j < high; j += CF_WIDTH) {
          cf_reg s = cf_load(line + j);
          if (!whole(h, i, j)) cf_store(line + j, s = seen(h, i, j, lanes, s, bias));
          top = greater(s, top);
        }
        most[r] = top;
      }
      float base[CF_WIDTH], sum[CF_WIDTH], log_sum[CF_WIDTH];
      const cf_reg tops = across<true>(most);
      cf_store(base, tops == -__builtin_inff() ? (cf_reg){} : tops);
      for (int r = 0; r < n; ++r) {
        float* line = scores + r * pitch;
        for (int j = low; j < high; j += CF_WIDTH) {
          const cf_reg p = power_of_two(cf_load(line + j) - base[r]);
          total[r] += p;
          cf_store(line + j, h.threshold ? (cf_reg)((cf_int)p & (cf_int)cf_load(keep + (r0 + r) * pitch + j)) : p);
        }
      }
      const cf_reg sums = across<false>(total);
      cf_store(sum, sums);
      cf_store(log_sum, logarithm(sums));
      gemm<false>(scores + low, pitch, 1, v + (int64_t)low * d, d, least(range, h.keys - low), out, d, n, columns);
      for (int r = 0; r < n; ++r) {
        const int i = i0 + r0 + r, empty = sum[r] == 0.0f;  // not so for NaN, which must come out
        store_row(out + r * d, h.width, empty ? 0.0f : kept / sum[r], h.dtype, h.out, i * h.out_stride);
        h.lse[i] = empty ? __builtin_inff() : sum[r] == sum[r] ? base[r] + log_sum[r] : sum[r];
      }
    }
  }
}

static void backward(const AttentionHead& h, float* scratch) {
  const int d = (h.width + CF_WIDTH - 1) / CF_WIDTH * CF_WIDTH, columns = d / CF_WIDTH;
  const int padded = (h.keys + CF_WIDTH - 1) / CF_WIDTH * CF_WIDTH, pitch = (h.keys + 15) / 16 * 16 + 16;
  const int64_t all = (int64_t)padded * d;
  float* q = scratch;
  float* grad = q + (h.queries + 15) / 16 * 16 * d;
  float* k = grad + (h.queries + 15) / 16 * 16 * d;
  float *keys = k + all, *values = keys + all;  // transposed
  float *dk = values + all, *dv = dk + all;
  float* p = dv + all;
  float* ds = p + kTile * pitch;
  float* keep = ds + kTile * pitch;
  float* bias = keep + kTile * pitch;
  float* dq = bias + padded;  // [kTile][d]
  const float kLog2e = 1.44269504088896f, kLn2 = 0.693147180559945f;
  pack_rows(h.v, h.v_stride, h.keys, h.width, h.dtype, h.mask, 1.0f, k, d);
  transpose(k, h.keys, d, h.width, values, padded);
  pack_rows(h.k, h.k_stride, h.keys, h.width, h.dtype, h.mask, 1.0f, k, d);
  transpose(k, h.keys, d, h.width, keys, padded);
  pack_rows(h.q, h.q_stride, h.queries, h.width, h.dtype, nullptr, h.scale * kLog2e, q, d);
  pack_rows(h.grad, h.grad_stride, h.queries, h.width, h.dtype, nullptr, 1.0f, grad, d);
  key_bias(h, bias, padded);
  for (int64_t n = 0; n < 2 * all; n += CF_WIDTH) cf_store(dk + n, (cf_reg){});
  const cf_int lanes = first_lanes();
  const float kept = h.threshold ? 65536.0f / (float)h.threshold : 1.0f;
  for (int i0 = 0; i0 < h.queries; i0 += kTile) {
    const int n = least(kTile, h.queries - i0);
    int low, high;
    visible(h, i0, i0 + n - 1, &low, &high);
    const int range = high > low ? high - low : 0;
    const int share = (h.keys * kTile + h.queries - 1) / h.queries, first = i0 / kTile * share;
    fetch_rows<1>(h.dq, h.dq_stride, i0, n, h.queries, h.width, h.dtype);
    fetch_rows<1>(h.dk, h.dk_stride, first, share, h.keys, h.width, h.dtype);
    fetch_rows<1>(h.dv, h.dv_stride, first, share, h.keys, h.width, h.dtype);
    if (h.next) {
      fetch_rows<0>(h.next->q, h.q_stride, i0, kTile, h.queries, h.width, h.dtype);
      fetch_rows<0>(h.next->grad, h.grad_stride, i0, kTile, h.queries, h.width, h.dtype);
      fetch_rows<0>(h.next->saved, h.saved_stride, i0, kTile, h.queries, h.width, h.dtype);
      fetch_rows<0>(h.next->k, h.k_stride, first, share, h.keys, h.width, h.dtype);
      fetch_rows<0>(h.next->v, h.v_stride, first, share, h.keys, h.width, h.dtype);
    }
    if (h.threshold && range) keep_bits(h, i0, low, high, (int*)keep, pitch);
    gemm<false>(q + i0 * d, d, 1, keys + low, padded, h.width, p + low, pitch, n, range / CF_WIDTH);
    gemm<false>(grad + i0 * d, d, 1, values + low, padded, h.width, ds + low, pitch, n, range / CF_WIDTH);
    float* saved = dq;  // dq comes later
    pack_rows((const char*)h.saved + i0 * h.saved_stride * (h.dtype ? 2 : 4), h.saved_stride, n, h.width, h.dtype,
              nullptr, 1.0f, saved, d);
    for (int r0 = 0; r0 < n; r0 += kRows) {
      cf_reg product[kRows] = {};
      for (int r = r0; r < least(n, r0 + kRows); ++r)
        for (int c = 0; c < d; c += CF_WIDTH)
          product[r - r0] += cf_load(saved + r * d + c) * cf_load(grad + (i0 + r) * d + c);
      float delta[CF_WIDTH];
      cf_store(delta, across<false>(product));
      for (int r = r0; r < least(n, r0 + kRows); ++r) {
        const float lse = h.lse[i0 + r], mean = delta[r - r0];
        for (int j = low; j < high; j += CF_WIDTH) {
          float *at_p = p + r * pitch + j, *at_ds = ds + r * pitch + j;
          cf_reg s = cf_load(at_p), g = cf_load(at_ds);
          if (!whole(h, i0 + r, j)) s = seen(h, i0 + r, j, lanes, s, bias);
          const cf_reg e = power_of_two(s - lse);
          cf_reg dropped = e;
          if (h.threshold) {
            const cf_int mask = (cf_int)cf_load(keep + r * pitch + j);
            dropped = (cf_reg)((cf_int)(e * kept) & mask);
            g = (cf_reg)((cf_int)(g * kept) & mask);
          }
          cf_store(at_p, dropped);
          cf_store(at_ds, e * (g - mean));
        }
      }
    }
    gemm<true>(p + low, 1, pitch, grad + i0 * d, d, n, dv + low * d, d, range, columns);
    gemm<true>(ds + low, 1, pitch, q + i0 * d, d, n, dk + low * d, d, range, columns);
    gemm<false>(ds + low, pitch, 1, k + low * d, d, least(range, h.keys - low), dq, d, n, columns);
    for (int r = 0; r < n; ++r) store_row(dq + r * d, h.width, h.scale, h.dtype, h.dq, (i0 + r) * h.dq_stride);
  }
  for (int j = 0; j < h.keys; ++j) {
    store_row(dk + j * d, h.width, kLn2, h.dtype, h.dk, j * h.dk_stride);  // q carries scale * log2(e)
    store_row(dv + j * d, h.width, 1.0f, h.dtype, h.dv, j * h.dv_stride);
  }
}

static const AttentionKernels table = {forward, backward};

}  // namespace CF_LEVEL
}  // namespace chordfast
