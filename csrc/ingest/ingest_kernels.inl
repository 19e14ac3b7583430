// Body of the kernels; the including file defines LANES and TABLE. Nothing here may be an inline function of a shared
// header: the linker could keep this level's copy for everybody.
#include <cstdint>
#include <cstring>
#include <utility>

#include "ingest/ingest_kernels.h"

namespace chordfast::ingest {
namespace {

typedef float V __attribute__((vector_size(4 * LANES)));
typedef int32_t VI __attribute__((vector_size(4 * LANES)));

inline V load(const float* p) {
  V v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
inline void store(float* p, V v) { std::memcpy(p, &v, sizeof v); }

// result[i] = element index[i] of a followed by b
inline V shuffle(V a, V b, VI index) {
#if defined(__clang__)
  V result;
  for (int i = 0; i < LANES; ++i) result[i] = index[i] < LANES ? a[index[i]] : b[index[i] - LANES];
  return result;
#else
  return __builtin_shuffle(a, b, index);
#endif
}

using Lanes = std::make_integer_sequence<int, LANES>;

template <int FIRST, int... I>
inline VI every_second(std::integer_sequence<int, I...>) {
  return VI{(2 * I + FIRST)...};
}

// The even- and the odd-numbered elements of the 2*LANES floats at p.
inline void split(const float* p, V& even, V& odd) {
  const V a = load(p), b = load(p + LANES);
  even = shuffle(a, b, every_second<0>(Lanes{}));
  odd = shuffle(a, b, every_second<1>(Lanes{}));
}

inline VI finite_mask(V v) {
  VI bits;
  std::memcpy(&bits, &v, sizeof v);
  return (bits & 0x7f800000) != 0x7f800000;  // -1 where finite
}
inline V masked(V v, VI mask) {
  VI bits;
  std::memcpy(&bits, &v, sizeof v);
  bits &= mask;
  std::memcpy(&v, &bits, sizeof v);
  return v;
}

void mix_i16(const int16_t* pcm, int64_t frames, int channels, float* out) {
  int64_t i = 0;
  const float scale = 1.0f / 32768.0f;
  if (channels == 2) {
    for (; i + LANES <= frames; i += LANES) {
      VI pair;
      std::memcpy(&pair, pcm + 2 * i, sizeof pair);
      store(out + i, __builtin_convertvector(((pair << 16) >> 16) + (pair >> 16), V) * (0.5f * scale));
    }
  }
  const float factor = scale / static_cast<float>(channels);
  if (channels == 1) {
    for (; i < frames; ++i) out[i] = static_cast<float>(pcm[i]) * scale;
  } else if (channels == 2 || channels == 4 || channels == 8) {  // the factor is a power of two: exact
    for (; i < frames; ++i) {
      int32_t sum = 0;
      for (int c = 0; c < channels; ++c) sum += pcm[i * channels + c];
      out[i] = static_cast<float>(sum) * factor;
    }
  } else {
    for (; i < frames; ++i) {
      int32_t sum = 0;
      for (int c = 0; c < channels; ++c) sum += pcm[i * channels + c];
      out[i] = static_cast<float>(sum) / (32768.0f * static_cast<float>(channels));
    }
  }
}

int64_t mix_f32(const float* pcm, int64_t frames, int channels, float* out) {
  int64_t i = 0, finite = 0;
  VI counts{};
  if (channels == 1) {
    for (; i + LANES <= frames; i += LANES) {
      const V v = load(pcm + i);
      const VI mask = finite_mask(v);
      counts -= mask;
      store(out + i, masked(v, mask));
    }
  } else if (channels == 2) {
    for (; i + LANES <= frames; i += LANES) {
      V left, right;
      split(pcm + 2 * i, left, right);
      const VI a = finite_mask(left), b = finite_mask(right);
      counts -= a + b;
      store(out + i, (masked(left, a) + masked(right, b)) * 0.5f);
    }
  }
  for (int l = 0; l < LANES; ++l) finite += counts[l];
  for (; i < frames; ++i) {
    float sum = 0.0f;
    for (int c = 0; c < channels; ++c) {
      const float v = pcm[i * channels + c];
      int32_t bits;
      std::memcpy(&bits, &v, sizeof bits);
      if ((bits & 0x7f800000) == 0x7f800000) continue;
      ++finite;
      sum += v;
    }
    out[i] = sum / static_cast<float>(channels);
  }
  return frames * channels - finite;
}

template <int K, int... I>
inline VI shifted_by(std::integer_sequence<int, I...>) {
  return VI{(I + K)...};
}

// sum of (e[i+COUNT-j] + e[i+COUNT+j-1]) * weights[j-1] over j = J..COUNT, e being the elements of a then b.
template <int COUNT, int J = 1>
inline V pairs(V a, V b, const float* weights, V sum) {
  if constexpr (J <= COUNT) {
    const V left = shuffle(a, b, shifted_by<COUNT - J>(Lanes{})),
            right = shuffle(a, b, shifted_by<COUNT + J - 1>(Lanes{}));
    return pairs<COUNT, J + 1>(a, b, weights, sum + (left + right) * weights[J - 1]);
  } else {
    return sum;
  }
}

// Wide registers: every shifted operand is a permutation of two registers, memory is read once.
template <int COUNT>
void half_band_wide(const float* x, int64_t n_out, const float* weights, float* out) {
  V even, odd, next_even, next_odd;
  split(x, even, odd);
  for (int64_t i = 0; i < n_out; i += LANES) {
    split(x + 2 * (i + LANES), next_even, next_odd);
    const V centre = shuffle(odd, next_odd, shifted_by<COUNT - 1>(Lanes{}));
    const V sum = pairs<COUNT>(even, next_even, weights, centre * 0.5f);
    if (i + LANES <= n_out)
      store(out + i, sum);
    else
      std::memcpy(out + i, &sum, (n_out - i) * sizeof(float));
    even = next_even;
    odd = next_odd;
  }
}

template <int COUNT>
void half_band_n(const float* x, int64_t n_out, const float* weights, float* out) {
  if constexpr (LANES >= 2 * 8) return half_band_wide<COUNT>(x, n_out, weights, out);
  constexpr int BLOCK = 1024;
  alignas(64) float even[BLOCK + 2 * kMaxLanes], odd[BLOCK + 2 * kMaxLanes];
  for (int64_t begin = 0; begin < n_out; begin += BLOCK) {
    const int n = static_cast<int>(n_out - begin < BLOCK ? n_out - begin : BLOCK);
    for (int k = 0; k < n + 2 * COUNT; k += LANES) {
      V a, b;
      split(x + 2 * (begin + k), a, b);
      store(even + k, a);
      store(odd + k, b);
    }
    for (int i = 0; i < n; i += LANES) {
      V sum = load(odd + i + COUNT - 1) * 0.5f;
#pragma GCC unroll 8
      for (int j = 1; j <= COUNT; ++j)
        sum += (load(even + i + COUNT - j) + load(even + i + COUNT + j - 1)) * weights[j - 1];
      if (i + LANES <= n)
        store(out + begin + i, sum);
      else
        std::memcpy(out + begin + i, &sum, (n - i) * sizeof(float));
    }
  }
}

void half_band(const float* x, int64_t n_out, int count, const float* weights, float* out) {
  if (count == 3) half_band_n<3>(x, n_out, weights, out);
  if (count == 5) half_band_n<5>(x, n_out, weights, out);
  if (count == 8) half_band_n<8>(x, n_out, weights, out);
}

template <int S, int... I>
inline VI low_blocks(std::integer_sequence<int, I...>) {
  return VI{((I & S) ? I - S + LANES : I)...};
}
template <int S, int... I>
inline VI high_blocks(std::integer_sequence<int, I...>) {
  return VI{((I & S) ? I + LANES : I + S)...};
}

// LANES rows of LANES floats, in place: the step of size S transposes blocks of 2*S.
template <int S = 1>
inline void transpose(V rows[LANES]) {
  if constexpr (S < LANES) {
#pragma GCC unroll 16
    for (int i = 0; i < LANES; ++i) {
      if (i & S) continue;
      const V a = rows[i], b = rows[i + S];
      rows[i] = shuffle(a, b, low_blocks<S>(Lanes{}));
      rows[i + S] = shuffle(a, b, high_blocks<S>(Lanes{}));
    }
    transpose<2 * S>(rows);
  }
}

template <int WIDTH>
void group_rows(const Groups& g, const float* x, float* y) {
  const int64_t groups = g.segment_out / WIDTH;
  int in_period = 0;
  int64_t base = 0;
  for (int64_t k = 0; k < groups; ++k) {
    const float* row = x + (base + g.start[in_period]) * LANES;
    const float* w = g.weights + static_cast<int64_t>(in_period) * g.taps * WIDTH;
    V sum[WIDTH] = {};
    for (int t = 0; t < g.taps; ++t, row += LANES, w += WIDTH) {
      const V v = load(row);
#pragma GCC unroll 8
      for (int r = 0; r < WIDTH; ++r) sum[r] += v * w[r];
    }
#pragma GCC unroll 8
    for (int r = 0; r < WIDTH; ++r) store(y + (k * WIDTH + r) * LANES, sum[r]);
    if (++in_period == g.count) {
      in_period = 0;
      base += g.period_in;
    }
  }
}

inline int64_t up(int64_t n) { return (n + LANES - 1) / LANES * LANES; }

void polyphase(const Groups& g, const float* x, int64_t n_out, float* scratch, float* out) {
  const int64_t rows_in = up(g.segment_in + g.taps), rows_out = up(g.segment_out);
  float* in_lanes = scratch;
  float* out_lanes = scratch + rows_in * LANES;
  V tile[LANES];
  for (int64_t r = 0; r < rows_in; r += LANES) {
#pragma GCC unroll 16
    for (int l = 0; l < LANES; ++l) tile[l] = load(x + l * g.segment_in + r);
    transpose(tile);
#pragma GCC unroll 16
    for (int l = 0; l < LANES; ++l) store(in_lanes + (r + l) * LANES, tile[l]);
  }
  switch (g.width) {
    case 5: group_rows<5>(g, in_lanes, out_lanes); break;
    case 6: group_rows<6>(g, in_lanes, out_lanes); break;
    case 7: group_rows<7>(g, in_lanes, out_lanes); break;
    default: group_rows<8>(g, in_lanes, out_lanes); break;
  }
  for (int64_t r = 0; r < rows_out; r += LANES) {
#pragma GCC unroll 16
    for (int l = 0; l < LANES; ++l) tile[l] = load(out_lanes + (r + l) * LANES);
    transpose(tile);
    for (int l = 0; l < LANES; ++l) {
      const int64_t at = l * g.segment_out + r;
      int64_t n = g.segment_out - r < LANES ? g.segment_out - r : LANES;
      if (n_out - at < n) n = n_out - at;
      if (n == LANES) {
        store(out + at, tile[l]);
      } else if (n > 0) {
        float part[LANES];
        store(part, tile[l]);
        std::memcpy(out + at, part, n * sizeof(float));
      }
    }
  }
}

float interpolate(const float* x, const float* rows, int taps, const float blend[4]) {
  V sum[4] = {};
  int t = 0;
  for (; t + LANES <= taps; t += LANES) {
    const V v = load(x + t);
    for (int r = 0; r < 4; ++r) sum[r] += v * load(rows + static_cast<int64_t>(r) * taps + t);
  }
  const V all = sum[0] * blend[0] + sum[1] * blend[1] + sum[2] * blend[2] + sum[3] * blend[3];
  float total = 0.0f;
  for (int l = 0; l < LANES; ++l) total += all[l];
  for (; t < taps; ++t) {
    float w = 0.0f;
    for (int r = 0; r < 4; ++r) w += blend[r] * rows[static_cast<int64_t>(r) * taps + t];
    total += x[t] * w;
  }
  return total;
}

}  // namespace

extern const Kernels TABLE = {LANES, mix_i16, mix_f32, half_band, polyphase, interpolate};

}  // namespace chordfast::ingest
