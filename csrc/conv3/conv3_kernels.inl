// Compiled once per SIMD level inside namespace CF_LEVEL. Winograd's F(4, 3) along time (Lavin and Gray, CVPR 2016):
// six products give four frames where the definition takes twelve.
#include "common/simd.h"
#include "conv3/conv3_kernels.h"

namespace chordfast {
namespace CF_LEVEL {

#include "common/gemm.inl"

// Columns of one panel, whose weights of one part stay in the nearest cache.
static inline int64_t panel(int64_t column, int64_t padded) {
  const int64_t left = padded - column;
  return left < kColumns * CF_WIDTH ? left : kColumns * CF_WIDTH;
}

// Panels one after the other, in each the six parts [inputs, columns of the panel].
static void pack(const float* weights, int64_t inputs, int64_t outputs, float* packed) {
  const int64_t padded = (outputs + 15) / 16 * 16;
  for (int64_t column = 0, width; column < padded; column += width) {
    width = panel(column, padded);
    float* to = packed + kConvParts * inputs * column;
    const int64_t part = inputs * width;
    for (int64_t j = 0; j < width; j += CF_WIDTH)
      for (int64_t k = 0; k < inputs; ++k) {
        float tap[3][CF_WIDTH] = {};
        for (int64_t lane = 0; lane < CF_WIDTH && column + j + lane < outputs; ++lane)
          for (int i = 0; i < 3; ++i) tap[i][lane] = weights[((column + j + lane) * inputs + k) * 3 + i];
        const cf_reg a = cf_load(tap[0]), b = cf_load(tap[1]), c = cf_load(tap[2]);
        const cf_reg outer = (a + c) * (-1.0f / 6), inner = a * (1.0f / 24) + c * (1.0f / 6);
        float* at = to + k * width + j;
        cf_store(at, a * 0.25f);
        cf_store(at + part, outer - b * (1.0f / 6));
        cf_store(at + 2 * part, outer + b * (1.0f / 6));
        cf_store(at + 3 * part, inner + b * (1.0f / 12));
        cf_store(at + 4 * part, inner - b * (1.0f / 12));
        cf_store(at + 5 * part, c);
      }
  }
}

// The six combinations of frames 4 t - 1 ... 4 t + 4, zeros outside the window; `to` are rows of `inputs` floats.
static void spread(const Conv3Run& r, int64_t tile, float* to) {
  static const float zeros[CF_WIDTH] = {};
  const int64_t tiles = (r.frames + kConvTile - 1) / kConvTile, window = tile / tiles;
  const int64_t first = tile % tiles * kConvTile - 1, part = kConvRows * r.inputs;
  const float* x = r.x + (window * r.frames + first) * r.inputs;
  const float* from[6];
  int64_t step[6];
  for (int i = 0; i < 6; ++i) {
    const bool inside = first + i >= 0 && first + i < r.frames;
    from[i] = inside ? x + i * r.inputs : zeros;
    step[i] = inside;
  }
  for (int64_t k = 0; k < r.inputs; k += CF_WIDTH) {
    cf_reg d[6];
    for (int i = 0; i < 6; ++i) d[i] = cf_load(from[i] + step[i] * k);
    const cf_reg even = d[4] - 4.0f * d[2], odd = d[3] - 4.0f * d[1];
    const cf_reg near = d[4] - d[2], far = 2.0f * (d[3] - d[1]);
    cf_store(to + k, 4.0f * (d[0] - d[2]) + near);
    cf_store(to + part + k, even + odd);
    cf_store(to + 2 * part + k, even - odd);
    cf_store(to + 3 * part + k, near + far);
    cf_store(to + 4 * part + k, near - far);
    cf_store(to + 5 * part + k, 4.0f * (d[1] - d[3]) + (d[5] - d[3]));
  }
}

// Four frames of `width` columns from the six products.
static void gather(const Conv3Run& r, int64_t tile, const float* from, int64_t column, int64_t width) {
  const int64_t tiles = (r.frames + kConvTile - 1) / kConvTile, window = tile / tiles;
  const int64_t first = tile % tiles * kConvTile, part = kConvRows * width;
  const int64_t count = r.frames - first < kConvTile ? r.frames - first : kConvTile;
  float* out = r.out + (window * r.frames + first) * r.outputs + column;
  for (int64_t j = 0; j < width && column + j < r.outputs; j += CF_WIDTH) {
    cf_reg m[6], y[4];
    for (int i = 0; i < 6; ++i) m[i] = cf_load(from + i * part + j);
    const cf_reg base = r.bias ? cf_load(r.bias + column + j) : (cf_reg){};
    const cf_reg sum = m[1] + m[2], difference = m[1] - m[2];
    const cf_reg wide = m[3] + m[4], apart = 2.0f * (m[3] - m[4]);
    y[0] = base + (m[0] + (sum + wide));
    y[1] = base + (difference + apart);
    y[2] = base + (sum + 4.0f * wide);
    y[3] = base + (m[5] + (difference + 4.0f * apart));
    for (int64_t i = 0; i < count; ++i) {
      const cf_reg value = r.relu ? (y[i] < 0.0f ? (cf_reg){} : y[i]) : y[i];  // NaN stays NaN
      cf_store(out + i * r.outputs + j, value);
    }
  }
}

static void run(const Conv3Run& r) {
  const int64_t padded = (r.outputs + 15) / 16 * 16;
  float* const spread_out = r.scratch;
  float* const products = r.scratch + kConvParts * kConvRows * r.inputs;
  for (int64_t begin = r.first; begin < r.last; begin += kConvRows) {
    const int64_t count = r.last - begin < kConvRows ? r.last - begin : kConvRows;
    for (int64_t i = 0; i < count; ++i) spread(r, begin + i, spread_out + i * r.inputs);
    for (int64_t column = 0, width; column < padded; column += width) {
      width = panel(column, padded);
      const float* weights = r.weights + kConvParts * r.inputs * column;
      for (int part = 0; part < kConvParts; ++part)
        gemm<false>(spread_out + part * kConvRows * r.inputs, r.inputs, 1, weights + part * r.inputs * width, width,
                    (int)r.inputs, products + part * kConvRows * width, width, (int)count, (int)(width / CF_WIDTH));
      for (int64_t i = 0; i < count; ++i) gather(r, begin + i, products + i * width, column, width);
    }
  }
}

static const Conv3Kernels table = {pack, run};

}  // namespace CF_LEVEL
}  // namespace chordfast
