// What the kernels know about a plan and a batch: sizes, and where things lie in the constants and in the workspace.
#pragma once

#include <cstdint>

#include "common/pieces.cuh"
#include "simt/simt.h"

namespace chordfast {
namespace cqt {

constexpr int kFrames = 64;  // frames of one block of the octave kernel
constexpr int kSlab = 32;    // taps in shared memory at a time
constexpr int kCut = 112;    // samples on either side of an end in which librosa's cut shows
constexpr int kCutSpan = 2 * kCut;
constexpr int kReach = 194;       // of the decimation filter, 389 taps
constexpr int kShortReach = 127;  // of the filter that serves the two taps without a mirror image
constexpr int kMostLevels = 24;
constexpr int kPassLevels = 5;  // levels that one launch of the pyramid makes
constexpr int kRing = 20;       // a level rings out within 17 samples of its signal; a multiple of 4

struct Geometry {
  int n_octaves, bins, n_bins, n_fft, hop, halvings, log_output;
  int stored;                       // levels 1 ... stored are kept in the workspace
  int composite_taps, direct_taps;  // multiples of kSlab
  int lead;                         // zeros on either side of a song at every stored level, a multiple of 4
  int levels;                       // halvings + n_octaves
  // Floats from the start of the constants. Filters are [bin tile][tap][real, imaginary][bins of a tile].
  int64_t composite, direct, octave, scale, decimation;
  float half_band[9];
  int64_t level[kMostLevels];  // floats from the start of the workspace
};

// A song as the kernels see it: the data of its Piece.
struct Song {
  int64_t begin, samples, row, padded;  // begin in x; first row of the result; samples of all songs before, rounded up
  __device__ explicit Song(const Piece& piece)
      : begin(piece.data[0]), samples(piece.data[1]), row(piece.data[2]), padded(piece.data[3]) {}
};

__host__ __device__ inline int64_t halved(int64_t n, int times) { return (n + (int64_t{1} << times) - 1) >> times; }

// Song lengths are rounded up to this, so that every level of every song starts at a multiple of four floats.
__host__ __device__ inline int64_t song_step(const Geometry& g) { return int64_t{4} << g.stored; }
__host__ __device__ inline int64_t song_room(const Geometry& g, int64_t samples) {
  return (samples + song_step(g) - 1) / song_step(g) * song_step(g);
}

// Where position 0 of a song lies at a stored level.
__device__ inline int64_t level_origin(const Geometry& g, int level, int64_t song, const Song& s) {
  return g.level[level] + (s.padded >> level) + song * 2 * g.lead + g.lead;
}

}  // namespace cqt
}  // namespace chordfast
