// The resampling kernels. One block makes one tile of one song's output; the mix-down happens while its input is
// loaded.
#pragma once

#include "ingest/ingest_load.cuh"

namespace chordfast {
namespace ingest {

constexpr int kThreads = 256;
constexpr int kCopyTile = 4096;
constexpr int kHalfBandTile = 1024;
constexpr int kRowsTile = 256;

// The rates are equal: mix down only.
template <class T>
__global__ void __launch_bounds__(kThreads) ingest_copy(const StageParams stage) {
  const StageSong song(stage);
  const int64_t first = song.tile * kCopyTile;
  const int n = static_cast<int>(song.out_count - first < kCopyTile ? song.out_count - first : kCopyTile);
  float* out = stage.out + song.out_begin + first;
  load_mono<T>(stage, song, first, n, 0, n, [&](int i, float value) { out[i] = value; });
}

struct HalfBand {
  int count;  // distinct odd taps
  float taps[8];
};

// Half the rate: the samples are kept as even and odd ones, because but for the centre the filter has odd taps only.
template <class T>
__global__ void __launch_bounds__(kThreads) ingest_half_band(const StageParams stage, const HalfBand filter) {
  constexpr int kPad = 16, kIn = 2 * kHalfBandTile + 2 * kPad;
  CF_SHARED(float, even, kIn / 2);
  CF_SHARED(float, odd, kIn / 2);
  const StageSong song(stage);
  const int64_t first = stage.out_first + song.tile * kHalfBandTile;
  load_mono<T>(stage, song, 2 * first - kPad, kIn, kPad, kIn - kPad,
               [&](int i, float value) { (i & 1 ? odd : even)[i >> 1] = value; });
  float* out = stage.out + song.out_begin + song.tile * kHalfBandTile;
  const int64_t n = song.out_count - song.tile * kHalfBandTile;
  for (int i = threadIdx.x; i < kHalfBandTile && i < n; i += kThreads) {
    float sum = 0.5f * even[i + kPad / 2];
#pragma unroll
    for (int j = 1; j <= 8; ++j)
      if (j <= filter.count) sum += filter.taps[j - 1] * (odd[i + kPad / 2 - 1 + j] + odd[i + kPad / 2 - j]);
    out[i] = sum;
  }
}

// A polyphase filter as groups of `width` neighbouring outputs that share their inputs; `count` groups make a period of
// width * count outputs and `period_in` inputs. A block makes `periods` of them.
struct Groups {
  const float* weights;  // [count][taps][8], zeros where an output of the group does not use an input
  int64_t step, phases;
  int width, count, taps, lead, period_in, periods, stride;
};

// Input sample i lies at row i % period_in, column i / period_in: threads of a warp, which work at the same group of
// neighbouring periods, read neighbouring words, and all the same weights. A thread works at two periods.
template <class T>
__global__ void __launch_bounds__(kThreads) ingest_groups(const StageParams stage, const Groups g) {
  CF_DYN_SHARED(float, samples);
  const StageSong song(stage);
  const int in_tile = g.periods * g.period_in;
  load_mono<T>(stage, song, song.tile * in_tile - g.lead, in_tile + g.taps, g.lead, g.lead + in_tile,
               [&](int i, float value) {
                 const int column = static_cast<int>(static_cast<unsigned>(i) / static_cast<unsigned>(g.period_in));
                 samples[(i - column * g.period_in) * g.stride + column] = value;
               });
  const int lanes = g.periods / 2, lane = threadIdx.x % lanes, period_out = g.width * g.count;
  const int64_t n = song.out_count - song.tile * g.periods * period_out;
  float* out = stage.out + song.out_begin + song.tile * g.periods * period_out;
  for (int group = threadIdx.x / lanes; group < g.count; group += kThreads / lanes) {
    const float4* weights = reinterpret_cast<const float4*>(g.weights) + static_cast<int64_t>(group) * g.taps * 2;
    float sums[2][8] = {};
    int row = static_cast<int>(static_cast<int64_t>(group) * g.width * g.step / g.phases);
    const float* column = samples + lane;
    for (int t = 0; t < g.taps;) {
      const int run = g.taps - t < g.period_in - row ? g.taps - t : g.period_in - row;
      const float* x = column + row * g.stride;
#pragma unroll 4
      for (int i = 0; i < run; ++i) {
        const float a = x[0], b = x[lanes];
        const float4 low = weights[0], high = weights[1];
        const float w[8] = {low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};
#pragma unroll
        for (int r = 0; r < 8; ++r) {
          sums[0][r] += a * w[r];
          sums[1][r] += b * w[r];
        }
        x += g.stride;
        weights += 2;
      }
      t += run;
      row = 0;
      ++column;
    }
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int at = (lane + half * lanes) * period_out + group * g.width;
      const float* s = sums[half];
      if (g.width == 8 && at + 8 <= n && reinterpret_cast<uintptr_t>(out + at) % 16 == 0) {
        *reinterpret_cast<float4*>(out + at) = make_float4(s[0], s[1], s[2], s[3]);
        *reinterpret_cast<float4*>(out + at + 4) = make_float4(s[4], s[5], s[6], s[7]);
      } else {
#pragma unroll
        for (int r = 0; r < 8; ++r)
          if (r < g.width && at + r < n) out[at + r] = s[r];
      }
    }
  }
}

// Any other filter, an output a thread: one row of weights an output, or a cubic through four.
struct Rows {
  const float* weights;  // [rows][taps]; [rows + 3][taps] from fraction -1/rows on when interpolated
  int64_t step, phases;
  int taps, lead, rows, interpolated;
};

template <class T>
__global__ void __launch_bounds__(kThreads) ingest_rows(const StageParams stage, const Rows filter) {
  CF_DYN_SHARED(float, samples);
  const StageSong song(stage);
  const int64_t first = song.tile * kRowsTile * filter.step, base = first / filter.phases;
  const int own = static_cast<int>((first + kRowsTile * filter.step) / filter.phases - base);
  load_mono<T>(stage, song, base - filter.lead, own + 1 + filter.taps, filter.lead, filter.lead + own,
               [&](int i, float value) { samples[i] = value; });
  const int64_t output = song.tile * kRowsTile + threadIdx.x;
  if (output >= song.out_count) return;
  const int64_t at = output * filter.step, whole = at / filter.phases, rest = at - whole * filter.phases;
  const float* x = samples + (whole - base);
  float sum = 0.0f;
  if (!filter.interpolated) {
    const float* w = filter.weights + rest * filter.taps;
    for (int t = 0; t < filter.taps; ++t) sum += x[t] * w[t];
  } else {
    const double where = static_cast<double>(rest) / static_cast<double>(filter.phases) * filter.rows;
    const int64_t row = static_cast<int64_t>(where);
    const double u = where - static_cast<double>(row);
    // Lagrange's cubic through the rows before, at, after and two after the wanted fraction.
    const float blend[4] = {static_cast<float>(-u * (u - 1.0) * (u - 2.0) / 6.0),
                            static_cast<float>((u + 1.0) * (u - 1.0) * (u - 2.0) / 2.0),
                            static_cast<float>(-(u + 1.0) * u * (u - 2.0) / 2.0),
                            static_cast<float>((u + 1.0) * u * (u - 1.0) / 6.0)};
    const float* w = filter.weights + row * filter.taps;
    float part[4] = {};
    for (int t = 0; t < filter.taps; ++t)
#pragma unroll
      for (int r = 0; r < 4; ++r) part[r] += x[t] * w[r * filter.taps + t];
    sum = part[0] * blend[0] + part[1] * blend[1] + part[2] * blend[2] + part[3] * blend[3];
  }
  stage.out[song.out_begin + output] = sum;
}

}  // namespace ingest
}  // namespace chordfast
