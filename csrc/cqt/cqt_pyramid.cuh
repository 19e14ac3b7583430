// The levels: the signal at half, a quarter ... of its rate, several levels in one pass through shared memory; and what
// librosa's cut of every decimated signal takes away at both ends.
#pragma once

#include "cqt/cqt_geometry.cuh"

namespace chordfast {
namespace cqt {

constexpr int kTileSamples = 6144;
constexpr int kPyramidThreads = 256;
// A level needs 24 samples more on either side than twice what the next one needs (17 used, rounded to whole vectors).
__host__ __device__ constexpr int halo_of(int levels) { return 24 * ((1 << levels) - 1); }
constexpr int kSourceFloats = kTileSamples + 2 * halo_of(kPassLevels);
constexpr int kFirstFloats = kTileSamples / 2 + 2 * halo_of(kPassLevels - 1);

// One tile of one song: levels source + 1 ... source + count from level `source`. A level in shared memory is held as
// its even samples followed by its odd ones, because the filter's taps lie on the odd ones (and the centre).
static __global__ void __launch_bounds__(kPyramidThreads)
    cqt_pyramid(const Geometry g, const float* __restrict__ x, float* __restrict__ work,
                const Piece* __restrict__ tiles, const int32_t* __restrict__ owner, int source, int count) {
  CF_SHARED(float, even_levels, kSourceFloats);
  CF_SHARED(float, odd_levels, kFirstFloats);
  const int64_t index = owner[blockIdx.x];
  const Piece piece = tiles[index];
  const Song song(piece);
  const int64_t tile = blockIdx.x - piece.first;
  const bool last_tile = tile + 1 == piece.count;
  const int64_t origin = tile * kTileSamples - (int64_t{kRing} << count);  // of the part this tile is responsible for
  const int64_t room = song_room(g, song.samples);

  int halo = halo_of(count);
  {
    const float* from = source == 0 ? x + song.begin : work + level_origin(g, source, index, song);
    const int64_t begin = source == 0 ? 0 : -int64_t{g.lead};
    const int64_t end = source == 0 ? song.samples : (room >> source) + g.lead;
    const int n = kTileSamples + 2 * halo;
    for (int i = threadIdx.x; i < n; i += kPyramidThreads) {
      const int64_t position = origin - halo + i;
      even_levels[(i & 1) * (n / 2) + (i >> 1)] = position >= begin && position < end ? from[position] : 0.0f;
    }
  }
  for (int k = 1; k <= count; ++k) {
    __syncthreads();
    const float* from = k & 1 ? even_levels : odd_levels;
    float* to = k & 1 ? odd_levels : even_levels;
    const float* odd = from + ((kTileSamples >> (k - 1)) + 2 * halo) / 2;
    halo = (halo - 24) / 2;
    const int width = kTileSamples >> k, n = width + 2 * halo;
    float* out = work + level_origin(g, source + k, index, song);
    const int64_t first = (origin >> k) - halo, end = (room >> (source + k)) + g.lead;
    for (int u = 4 * threadIdx.x; u < n; u += 4 * kPyramidThreads) {
      float o[24], r[4];
#pragma unroll
      for (int v = 0; v < 6; ++v)
        *reinterpret_cast<float4*>(o + 4 * v) = *reinterpret_cast<const float4*>(odd + u + 4 * v);
      *reinterpret_cast<float4*>(r) = *reinterpret_cast<const float4*>(from + u + 12);
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        float sum = 0.5f * r[e];
#pragma unroll
        for (int p = 0; p < 9; ++p) sum += g.half_band[p] * (o[12 + e + p] + o[11 + e - p]);
        r[e] = sum;
      }
      if (k < count) {
        *reinterpret_cast<float2*>(to + u / 2) = make_float2(r[0], r[2]);
        *reinterpret_cast<float2*>(to + n / 2 + u / 2) = make_float2(r[1], r[3]);
      }
      const int64_t position = first + u;
      if (u >= halo && u < halo + width && position >= -g.lead && position < end)
        *reinterpret_cast<float4*>(out + position) = make_float4(r[0], r[1], r[2], r[3]);
    }
    // Zeros around the song, as far as a filter may look.
    if (tile == 0)
      for (int64_t i = -int64_t{g.lead} + threadIdx.x; i < (origin >> k); i += kPyramidThreads) out[i] = 0.0f;
    if (last_tile)
      for (int64_t i = (origin >> k) + width + threadIdx.x; i < end; i += kPyramidThreads) out[i] = 0.0f;
  }
}

// The decimation filter at sample 2c of a signal held as even and odd samples.
__device__ inline float decimated(const float* even, const float* odd, int c, const float* __restrict__ taps) {
  float a = taps[0] * even[c], b = 0.0f;
#pragma unroll 4
  for (int j = 1; j <= kReach / 2; ++j) {
    a += taps[2 * j] * (even[c + j] + even[c - j]);
    b += taps[2 * j - 1] * (odd[c + j - 1] + odd[c - j]);
  }
  return a + b;
}

// cuts[song][start, end][level][-kCut ... kCut - 1]: outside the signal, the uncut level itself, made by librosa's
// filter from the level above; inside, the decimated image of what was cut one level above.
static __global__ void __launch_bounds__(kCutSpan)
    cqt_cuts(const Geometry g, const float* __restrict__ constants, const float* __restrict__ x,
             const float* __restrict__ work, const Piece* __restrict__ songs, float* __restrict__ cuts) {
  constexpr int kWindow = 616, kPlane = kWindow / 2;  // 2c of decimated() runs from 196 to 418
  CF_SHARED(float, uncut, kWindow);
  CF_SHARED(float, above, kWindow);
  CF_SHARED(float, cut, kCutSpan);
  CF_SHARED(float, taps, kReach + 1);
  const int64_t index = blockIdx.x >> 1;
  const bool start = (blockIdx.x & 1) == 0;
  const Song song(songs[index]);
  const int i = threadIdx.x, side = i < kCut ? i : i - kCut;
  const bool outside = (i < kCut) == start;
  float* out = cuts + blockIdx.x * static_cast<int64_t>(g.levels) * kCutSpan;
  if (i <= kReach) taps[i] = constants[g.decimation + i];
  cut[i] = 0.0f;
  out[i] = 0.0f;
  __syncthreads();
  for (int l = 1; l < g.levels; ++l) {
    const int64_t length = halved(song.samples, l), length_above = halved(song.samples, l - 1);
    const float* level = l == 1 ? x + song.begin : work + level_origin(g, l - 1, index, song);
    const int64_t window = start ? -420 : 2 * length - 196;
    // From a position of `above` to one relative to the signal's end of that level.
    const int shift = start ? 196 : 420 - static_cast<int>(2 * length - length_above);
    for (int p = i; p < kWindow; p += kCutSpan) {
      const int64_t position = window + p;
      const int at = (p & 1) * kPlane + (p >> 1), q = p - shift;
      uncut[at] = l > 1 || (position >= 0 && position < song.samples) ? level[position] : 0.0f;
      above[at] = q >= -kCut && q < kCut ? cut[q + kCut] : 0.0f;
    }
    __syncthreads();
    const float* from = outside ? uncut : above;
    float value = decimated(from, from + kPlane, side + 98, taps);
    if (!outside && (start ? side : kCut - 1 - side) >= length) value = 0.0f;  // shorter than the edge
    cut[i] = value;
    out[l * kCutSpan + i] = value;
    __syncthreads();
  }
}

}  // namespace cqt
}  // namespace chordfast
