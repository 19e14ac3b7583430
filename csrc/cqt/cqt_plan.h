// The plan as the C++ side keeps it: padded, aligned copies of the filters, and the sizes derived from them.
#pragma once

#include <cstdint>
#include <vector>

#include "cqt/cqt.h"
#include "cqt/cqt_kernels.h"

namespace chordfast {

// Samples beyond either end of a decimated signal in which librosa's cut differs from the uncut signal.
constexpr int kEdge = 112;
constexpr int kFirReach = 194, kFirPadded = 416;  // the decimation filter: 389 taps, padded to a multiple of 32
// The two taps without a mirror image are 97 dB below the filter's sum: a shorter decimation filter serves them.
constexpr int kShortReach = 127, kShortPadded = 256;

}  // namespace chordfast

struct cf_cqt_plan {
  int n_octaves, bins, n_bins, n_fft, hop, halvings, lanes;
  bool log_output;
  int composite_taps, direct_taps;  // multiples of 16
  std::vector<float> composite, direct, octave, scale, decimation, short_decimation, half_band;
  const chordfast::CqtKernels* kernels;

  int levels() const { return halvings + n_octaves; }                          // rates in use: sample_rate >> level
  int source(int o) const { return halvings + o > 0 ? halvings + o - 1 : 0; }  // the level octave o is computed from
  int64_t behind() const;  // samples a frame needs before its centre
  int64_t ahead() const;   // ... and after it, at its source level
  int64_t frames(int64_t n) const;
};
