// The inner loops of the width-3 convolution on the CPU, one table per SIMD level.
#pragma once

#include <stdint.h>

namespace chordfast {

constexpr int64_t kConvTile = 4, kConvParts = 6;  // frames a tile, products a tile
constexpr int64_t kConvRows = 64;  // tiles worked on at once: a whole number of gemm's rows, in the second cache

// Tiles first ... last - 1 of all windows: tile t of window w, number w * tiles + t, yields frames 4 t ... 4 t + 3.
struct Conv3Run {
  const float* x;        // [windows, frames, inputs]
  const float* weights;  // as `pack` leaves them
  const float* bias;     // [outputs], or NULL
  float* out;            // [windows, frames, outputs]
  int64_t frames, inputs, outputs, first, last;
  int relu;
  float* scratch;  // conv3_scratch(inputs) floats, aligned to 64 bytes
};

struct Conv3Kernels {
  // [outputs, inputs, 3] -> conv3_packed(inputs, outputs) floats, aligned to 64 bytes.
  void (*pack)(const float* weights, int64_t inputs, int64_t outputs, float* packed);
  void (*run)(const Conv3Run&);
};

// Columns are padded to whole vectors of the widest level.
inline int64_t conv3_packed(int64_t inputs, int64_t outputs) {
  return kConvParts * inputs * ((outputs + 15) / 16 * 16);
}
inline int64_t conv3_scratch(int64_t inputs) { return kConvParts * kConvRows * (inputs + 48) + kConvRows; }

const Conv3Kernels& conv3_kernels_plain();
const Conv3Kernels& conv3_kernels_avx2();
const Conv3Kernels& conv3_kernels_avx512();

}  // namespace chordfast
