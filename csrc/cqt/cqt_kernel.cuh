// The octave kernel: frames x folded taps x filters as a product in single precision, then the corrections and |.|,
// log.
#pragma once

#include "common/cp_async.cuh"
#include "cqt/cqt_geometry.cuh"

namespace chordfast {
namespace cqt {

// A thread keeps 8 frames x 12 bins of the real or of the imaginary part; `splits` groups of threads share the taps.
template <int kBins>
struct OctaveShape {
  static constexpr int groups = kBins / 12;
  static constexpr int units = 8 * groups * 2;
  static constexpr int splits = kBins == 12 ? 8 : 4;
  static constexpr int threads = units * splits;
  static constexpr int warps = threads / 32;
  static constexpr int quads = (kFrames / 4 + warps - 1) / warps;  // groups of four frames that a warp folds
  static constexpr bool uneven = kFrames / 4 % warps != 0;
  static constexpr int row = 2 * kFrames + 4;  // floats of a tap: sums, differences; no bank conflicts
  static constexpr int sample_floats = kSlab * row;
  static constexpr int stage_floats = sample_floats + kSlab * 2 * kBins;
  static constexpr int total_floats = splits / 2 * 96 * units;  // for adding the shares of the taps
  static constexpr int shared_floats = 2 * stage_floats > total_floats ? 2 * stage_floats : total_floats;
  static_assert(96 * (units + 1) <= shared_floats && kSlab % splits == 0, "sizes");
};

// What a block knows about its frames.
struct FrameTable {
  const float* centre[kFrames];  // of the frame, in its source level
  int low[kFrames];              // offsets from low to low + inside - 1 lie inside the signal
  unsigned inside[kFrames];      // (used at the full rate only)
  int song[kFrames];
  float unpaired[2 * kFrames];  // the octave's samples that have no mirror image
};

struct OctaveInput {
  const float *constants, *x, *work, *cuts;
  const Piece* songs;
  const int32_t* owner;
  int64_t frames;
};

struct OctaveOutput {
  void* out;
  int half;
  float subtract, multiply;
};

// Natural logarithm of positive normal floats, the CPU kernel's polynomial.
__device__ inline float natural_log(float value) {
  const int bits = __float_as_int(value);
  const int exponent = (bits - 0x3f3504f3) >> 23;
  const float m = __int_as_float(bits - exponent * (1 << 23));
  const float z = (m - 1.0f) / (m + 1.0f), w = z * z;
  const float series = 2.0f + w * (0.66666667f + w * (0.4f + w * (0.28571429f + w * 0.22222222f)));
  return static_cast<float>(exponent) * 0.69314718f + z * series;
}

// A sample at an offset from the frame's centre; 0 outside the signal. No branch, so that many loads are under way at
// once.
template <bool kChecked>
__device__ inline float sample(const float* centre, int low, unsigned inside, int offset) {
  float value = 0.0f;
  if (!kChecked || static_cast<unsigned>(offset - low) < inside) value = __ldg(centre + offset);
  return value;
}
template <bool kChecked>
__device__ inline float sample(const FrameTable& table, int frame, int offset) {
  return sample<kChecked>(table.centre[frame], table.low[frame], table.inside[frame], offset);
}

// Samples of the warp's frames that tap `tap` of this lane folds.
template <int kBins, bool kChecked>
__device__ inline void load_slab(const FrameTable& table, int tap, int mirror, int warp,
                                 float (&right)[OctaveShape<kBins>::quads][4],
                                 float (&left)[OctaveShape<kBins>::quads][4]) {
  using Shape = OctaveShape<kBins>;
#pragma unroll
  for (int q = 0; q < Shape::quads; ++q) {
    const int quad = warp + q * Shape::warps;
    if (Shape::uneven && quad >= kFrames / 4) break;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int frame = 4 * quad + i;
      const float* centre = table.centre[frame];
      const int low = kChecked ? table.low[frame] : 0;
      const unsigned inside = kChecked ? table.inside[frame] : 0;
      right[q][i] = sample<kChecked>(centre, low, inside, 1 + tap);
      left[q][i] = sample<kChecked>(centre, low, inside, mirror - tap);
    }
  }
}

template <int kBins>
__device__ inline void fold_slab(float* stage, int lane, int warp, const float (&right)[OctaveShape<kBins>::quads][4],
                                 const float (&left)[OctaveShape<kBins>::quads][4]) {
  using Shape = OctaveShape<kBins>;
#pragma unroll
  for (int q = 0; q < Shape::quads; ++q) {
    const int quad = warp + q * Shape::warps;
    if (Shape::uneven && quad >= kFrames / 4) break;
    const float *r = right[q], *l = left[q];
    float* to = stage + lane * Shape::row + 4 * quad;
    *reinterpret_cast<float4*>(to) = make_float4(r[0] + l[0], r[1] + l[1], r[2] + l[2], r[3] + l[3]);
    *reinterpret_cast<float4*>(to + kFrames) = make_float4(r[0] - l[0], r[1] - l[1], r[2] - l[2], r[3] - l[3]);
  }
}

// The two samples of the octave at -n_fft/2 and one later, for all frames of the block: a frame a warp.
template <int kWarps>
__device__ inline void unpaired_samples(const Geometry& g, const OctaveInput& in, FrameTable& table, bool direct,
                                        bool checked) {
  const int lane = threadIdx.x & 31, half = g.n_fft / 2;
  if (direct) {
    for (int i = threadIdx.x; i < 2 * kFrames; i += 32 * kWarps)
      table.unpaired[i] = sample<true>(table, i >> 1, (i & 1) - half);
    return;
  }
  const float* __restrict__ taps = in.constants + g.decimation;
  for (int frame = threadIdx.x >> 5; frame < kFrames; frame += kWarps) {
    float a = 0.0f, b = 0.0f;
#pragma unroll
    for (int j = lane; j < 2 * kShortReach + 3; j += 32) {
      const int offset = j - g.n_fft - kShortReach;
      const float value = checked ? sample<true>(table, frame, offset) : sample<false>(table, frame, offset);
      if (j <= 2 * kShortReach) a += value * taps[j < kShortReach ? kShortReach - j : j - kShortReach];
      if (j >= 2) b += value * taps[j - 2 < kShortReach ? kShortReach + 2 - j : j - 2 - kShortReach];
    }
    for (int width = 16; width > 0; width /= 2) {
      a += __shfl_xor_sync(0xffffffffu, a, width);
      b += __shfl_xor_sync(0xffffffffu, b, width);
    }
    if (lane == 0) {
      table.unpaired[2 * frame] = a;
      table.unpaired[2 * frame + 1] = b;
    }
  }
}

// What librosa's cut at one end takes away from a bin of a frame whose window reaches it.
__device__ inline void subtract_cut(const float* __restrict__ cut, const float2* __restrict__ taps, int bins,
                                    int64_t centre, int half, int64_t end, float& re, float& im) {
  const int64_t from = max(centre - half, end - kCut), to = min(centre + half, end + kCut);
  for (int64_t i = from; i < to; ++i) {
    const float c = cut[i - end + kCut];
    const float2 t = taps[(i - centre + half) * bins];
    re -= c * t.x;
    im -= c * t.y;
  }
}

template <int kBins>
__device__ inline void finish_frames(const Geometry& g, const OctaveInput& in, const OctaveOutput& to,
                                     const FrameTable& table, const float* sums, int64_t first, int octave,
                                     int bin_tile) {
  using Shape = OctaveShape<kBins>;
  const int level = g.halvings + octave, half = g.n_fft / 2;
  for (int item = threadIdx.x; item < kFrames * kBins; item += Shape::threads) {
    const int f = item / kBins, k = item % kBins, bin = bin_tile * kBins + k;
    const int column = g.n_bins - g.bins * (octave + 1) + bin;  // negative when the lowest octave is cut
    if (first + f >= in.frames || bin >= g.bins || column < 0) continue;
    const int slot = ((f >> 5) * 4 + (f & 3)) * 12 + k % 12, unit = ((f & 31) >> 2) + 8 * (k / 12);
    float re = sums[slot * (Shape::units + 1) + unit];
    float im = sums[slot * (Shape::units + 1) + unit + 8 * Shape::groups];
    const float2* taps = reinterpret_cast<const float2*>(in.constants + g.octave) + bin;
    re += table.unpaired[2 * f] * taps[0].x + table.unpaired[2 * f + 1] * taps[g.bins].x;
    im += table.unpaired[2 * f] * taps[0].y + table.unpaired[2 * f + 1] * taps[g.bins].y;
    const int index = table.song[f];
    const Piece piece = in.songs[index];
    const Song song(piece);
    const int64_t t = first + f - piece.first;
    if (level > 0) {
      const float* cut = in.cuts + (static_cast<int64_t>(2 * index) * g.levels + level) * kCutSpan;
      const int64_t centre = t * (g.hop >> level);
      subtract_cut(cut, taps, g.bins, centre, half, 0, re, im);
      subtract_cut(cut + g.levels * kCutSpan, taps, g.bins, centre, half, halved(song.samples, level), re, im);
    }
    float value = sqrtf(re * re + im * im) * in.constants[g.scale + octave * g.bins + bin];
    if (g.log_output) value = natural_log(value + 1e-6f);
    value = (value - to.subtract) * to.multiply;
    const int64_t at = (song.row + t) * g.n_bins + column;
    if (to.half)
      static_cast<__half*>(to.out)[at] = __float2half_rn(value);
    else
      static_cast<float*>(to.out)[at] = value;
  }
}

// Grid: tiles of 64 frames of the whole batch x octaves x tiles of bins.
template <int kBins>
__global__ void __launch_bounds__(OctaveShape<kBins>::threads, kBins == 36 ? 2 : 3)
    cqt_octaves(const Geometry g, const OctaveInput in, const OctaveOutput to) {
  using Shape = OctaveShape<kBins>;
  CF_DYN_SHARED(float, shared);
  CF_SHARED(FrameTable, tables, 1);
  FrameTable& table = tables[0];
  const int tid = threadIdx.x, lane = tid & 31, warp = tid >> 5;
  const int octave = blockIdx.y, level = g.halvings + octave, source = level > 0 ? level - 1 : 0;
  const bool direct = level == 0;
  const int mirror = direct ? 0 : 1, taps = direct ? g.direct_taps : g.composite_taps;
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kFrames;
  const float* __restrict__ filters =
      in.constants + (direct ? g.direct : g.composite) + static_cast<int64_t>(blockIdx.z) * taps * 2 * kBins;

  if (tid < kFrames) {
    const bool wanted = first + tid < in.frames;
    const int index = wanted ? in.owner[first + tid] : 0;
    const Piece piece = in.songs[index];
    const Song song(piece);
    const int64_t centre = wanted ? (first + tid - piece.first) * (g.hop >> source) : 0;
    const int64_t left = song.samples - centre, window = g.composite_taps + g.direct_taps + g.n_fft + 1024;
    table.song[tid] = index;
    const float* data = source == 0 ? in.x + song.begin : in.work + level_origin(g, source, index, song);
    table.centre[tid] = data + centre;
    table.low[tid] = static_cast<int>(max(-centre, -window));
    table.inside[tid] = wanted ? static_cast<unsigned>(max(min(left, window) - table.low[tid], int64_t{0})) : 0;
  }
  __syncthreads();
  unpaired_samples<Shape::warps>(g, in, table, direct, source == 0);

  const int split = tid / Shape::units, unit = tid % Shape::units;
  const int part = (unit >> 3) / Shape::groups, group = (unit >> 3) % Shape::groups;
  float right[Shape::quads][4], left[Shape::quads][4], sums[8][12] = {};
  auto load = [&](int slab) {
    if (source == 0)
      load_slab<kBins, true>(table, slab * kSlab + lane, mirror, warp, right, left);
    else
      load_slab<kBins, false>(table, slab * kSlab + lane, mirror, warp, right, left);
    float* stage = shared + (slab & 1) * Shape::stage_floats + Shape::sample_floats;
    const float* from = filters + static_cast<int64_t>(slab) * kSlab * 2 * kBins;
    static_assert(kSlab * 2 * kBins % (4 * Shape::threads) == 0 || kBins == 12, "whole rounds of copies");
#pragma unroll
    for (int round = 0; round < kSlab * 2 * kBins; round += 4 * Shape::threads)
      if (kBins != 12 || round + 4 * tid < kSlab * 2 * kBins)
        cp_async<16>(stage + round + 4 * tid, from + round + 4 * tid);
    cp_async_commit();
  };
  load(0);
  fold_slab<kBins>(shared, lane, warp, right, left);
  const int slabs = taps / kSlab;
  for (int slab = 0; slab < slabs; ++slab) {
    cp_async_wait<0>();
    __syncthreads();
    if (slab + 1 < slabs) load(slab + 1);
    const float* stage = shared + (slab & 1) * Shape::stage_floats;
    const float* a = stage + split * Shape::row + part * kFrames + 4 * (unit & 7);
    const float* b = stage + Shape::sample_floats + split * 2 * kBins + part * kBins + 12 * group;
#pragma unroll 1  // more costs registers, and with them the third block on a multiprocessor
    for (int i = 0; i < kSlab / Shape::splits; ++i) {
      float x[8], c[12];
      *reinterpret_cast<float4*>(x) = *reinterpret_cast<const float4*>(a);
      *reinterpret_cast<float4*>(x + 4) = *reinterpret_cast<const float4*>(a + kFrames / 2);
#pragma unroll
      for (int v = 0; v < 12; v += 4) *reinterpret_cast<float4*>(c + v) = *reinterpret_cast<const float4*>(b + v);
#pragma unroll
      for (int f = 0; f < 8; ++f)
#pragma unroll
        for (int k = 0; k < 12; ++k) sums[f][k] += x[f] * c[k];
      a += Shape::splits * Shape::row;
      b += Shape::splits * 2 * kBins;
    }
    if (slab + 1 < slabs) fold_slab<kBins>(shared + ((slab + 1) & 1) * Shape::stage_floats, lane, warp, right, left);
  }

  // The shares of the taps are added pairwise, always in the same order.
#pragma unroll
  for (int step = Shape::splits / 2; step > 0; step /= 2) {
    __syncthreads();
    float* mine = shared + ((split % step) * 96) * Shape::units + unit;
    if (split >= step && split < 2 * step)
#pragma unroll
      for (int i = 0; i < 96; ++i) mine[i * Shape::units] = sums[i / 12][i % 12];
    __syncthreads();
    if (split < step)
#pragma unroll
      for (int i = 0; i < 96; ++i) sums[i / 12][i % 12] += mine[i * Shape::units];
  }
  __syncthreads();
  if (split == 0)
#pragma unroll
    for (int i = 0; i < 96; ++i) shared[i * (Shape::units + 1) + unit] = sums[i / 12][i % 12];
  __syncthreads();
  finish_frames<kBins>(g, in, to, table, shared, first, octave, blockIdx.z);
}

}  // namespace cqt
}  // namespace chordfast
