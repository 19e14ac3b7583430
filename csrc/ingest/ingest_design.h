// Filter design for ingest, in double precision.
#pragma once

#include <cstdint>
#include <vector>

namespace chordfast::ingest {

// A filter for the ratio rate/target = step/phases: output i uses `taps` inputs from floor(i*step/phases) - lead,
// weighted by row (i*step) mod phases. When `interpolated`, the rows stand for fractions -1/rows .. (rows+1)/rows of
// an input sample instead (rows + 3 of them), and the weights between two rows come from a cubic.
struct Filter {
  int64_t step = 1, phases = 1;
  int taps = 0, lead = 0, rows = 0;
  bool interpolated = false;
  std::vector<float> weights;  // [rows or rows + 3][taps]
};

struct Design {
  std::vector<int> half_bands;  // coefficient counts of the 2:1 stages, first stage first
  bool polyphase = false;       // a Filter follows
  Filter filter;
};

// `rate` and `target` in Hz. `exact`: the response of soxr's HQ recipe; otherwise the band 0..0.254*target only.
Design design(int64_t rate, int64_t target, bool exact);

// Odd-tap coefficients of the half-band filter with `count` (3, 5 or 8) of them; the centre tap is 1/2.
const float* half_band(int count);

}  // namespace chordfast::ingest
