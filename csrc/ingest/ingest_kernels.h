// The inner loops of ingest, compiled once per SIMD level. Every output is one fixed chain of operations, whatever lane
// it falls into, so results do not depend on how a signal is cut into calls.
#pragma once

#include <cstdint>

#include "common/cpu_features.h"

namespace chordfast::ingest {

constexpr int kMaxLanes = 16;
constexpr int kSlack = 64;  // floats that kernels may read past the end of their input

// A polyphase filter laid out for `lanes` segments at a time: groups of `width` outputs share their inputs.
struct Groups {
  int width = 0;           // 5 .. 8 outputs a group
  int count = 0;           // groups a period
  int taps = 0;            // inputs a group reads
  int64_t segment_in = 0;  // inputs and outputs of one lane's segment, whole periods
  int64_t segment_out = 0;
  int64_t period_in = 0;
  const int64_t* start = nullptr;  // [count] first input of each group of the period
  const float* weights = nullptr;  // [count][taps][width]
};

struct Kernels {
  int lanes;
  // Mean of interleaved channels as float; the float one returns how many samples were not finite (taken as 0).
  void (*mix_i16)(const int16_t* pcm, int64_t frames, int channels, float* out);
  int64_t (*mix_f32)(const float* pcm, int64_t frames, int channels, float* out);
  // out[i] = half-band output centred on x[2*i + 2*count - 1].
  void (*half_band)(const float* x, int64_t n_out, int count, const float* weights, float* out);
  // `lanes` segments: lane l reads x[l*segment_in ...], writes out[l*segment_out ...] for the first `n_out` in all.
  // `scratch` is 64-byte aligned and holds polyphase_scratch() floats.
  void (*polyphase)(const Groups& groups, const float* x, int64_t n_out, float* scratch, float* out);
  // Dot products of x[0..taps) with four rows of `stride` weights, blended with `blend`.
  float (*interpolate)(const float* x, const float* rows, int taps, const float blend[4]);
};

int64_t polyphase_scratch(const Groups& groups, int lanes);

extern const Kernels kernels_plain;
extern const Kernels kernels_avx2;
extern const Kernels kernels_avx512;
const Kernels& kernels(Simd level);

}  // namespace chordfast::ingest
