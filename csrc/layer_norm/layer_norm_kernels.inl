// Compiled once per SIMD level inside namespace CF_LEVEL. A row is read once, kept in the nearest cache as floats,
// and written once; all sums are those of a row or of a fixed block of rows.
#include "common/simd.h"
#include "layer_norm/layer_norm_kernels.h"

namespace chordfast {
namespace CF_LEVEL {

#include "layer_norm/layer_norm_lanes.inl"

enum { kSum = 0, kBranch = 1, kAfter = 2 };

static inline float scale_of(const NormDropout& d) { return d.threshold ? 65536.0f / (float)d.threshold : 1.0f; }

static inline float root(float x) { return cf_sqrt(splat(x))[0]; }

// 1 / (sigma + epsilon), or for the population's sigma, which contains epsilon, 1 / sigma.
static inline float inverse(const LayerNormRows& r, float sigma) {
  return 1.0f / (r.kind == 0 ? sigma + r.epsilon : sigma);
}

static float* copy_padded(const float* from, int64_t width, float* to) {
  for (int64_t j = 0; j < width; ++j) to[j] = from[j];
  for (int64_t j = width; j < layer_norm_padded(width); ++j) to[j] = 0.0f;
  return to;
}

template <int kType, int kPlace, bool kDrop>
static void fwd_of(const LayerNormRows& r) {
  const int64_t width = r.width, padded = layer_norm_padded(width);
  float* const line = r.scratch;
  const float* const gamma = copy_padded(r.gamma, width, line + 2 * padded);
  const float* const beta = copy_padded(r.beta, width, line + 3 * padded);
  Bits bits{};
  if (kDrop) bits = bits_of(r.dropout, r.first, r.rows * width, line + 4 * padded);
  const float scale = scale_of(r.dropout), divisor = (float)(r.kind == 0 ? width - 1 : width);
  for (int64_t i = 0; i < r.rows; ++i) {
    const int64_t at = i * width;
    cf_reg total = {};
    for (int64_t j = 0; j < width; j += CF_WIDTH) {
      cf_reg v = get<kType>(r.x, at + j, width - j);
      if (kPlace != kAfter && r.y) {
        cf_reg u = get<kType>(r.y, at + j, width - j);
        if (kPlace == kBranch) {
          if (kDrop) u = kept(bits, at + j, u * scale);
          v += r.alpha * u;
        } else {
          v += u;
          if (kDrop) v = kept(bits, at + j, v * scale);
          if (r.sum) {
            v = rounded<kType>(v);
            put<kType>(r.sum, at + j, width - j, v);
          }
        }
      }
      cf_store(line + j, v);
      total += v;
    }
    const float mean = cf_sum(total) / (float)width;
    cf_reg squares = {};
    int64_t j = 0;
    for (; j + CF_WIDTH <= width; j += CF_WIDTH) {
      const cf_reg c = cf_load(line + j) - mean;
      cf_store(line + j, c);
      squares += c * c;
    }
    if (j < width) {
      cf_store(line + j, cf_load(line + j) - mean);
      for (int64_t k = width; k < j + CF_WIDTH; ++k) line[k] = 0.0f;
      squares += cf_load(line + j) * cf_load(line + j);
    }
    const float variance = cf_sum(squares) / divisor, sigma = root(r.kind == 0 ? variance : variance + r.epsilon);
    const float factor = inverse(r, sigma);
    r.stats[2 * i] = mean;
    r.stats[2 * i + 1] = sigma;
    for (j = 0; j < width; j += CF_WIDTH) {
      cf_reg v = cf_load(line + j) * factor * cf_load(gamma + j) + cf_load(beta + j);
      if (kPlace == kAfter) {
        v = v < 0.0f ? splat(0.0f) : v;
        if (kDrop) v = kept(bits, at + j, v * scale);
      }
      put<kType>(r.out, at + j, width - j, v);
    }
  }
}

template <int kType, int kPlace, bool kDrop>
static void bwd_of(const LayerNormRows& r) {
  const int64_t width = r.width, padded = layer_norm_padded(width);
  float *const line = r.scratch, *const slope = line + padded;
  const float* const gamma = copy_padded(r.gamma, width, line + 2 * padded);
  Bits bits{};
  if (kDrop && kPlace != kAfter) bits = bits_of(r.dropout, r.first, r.rows * width, line + 4 * padded);
  const float scale = scale_of(r.dropout), share = 1.0f / (float)width;
  const float divisor = (float)(r.kind == 0 ? width - 1 : width);
  for (int64_t j = 0; j < padded; ++j) r.dgamma[j] = r.dbeta[j] = 0.0f;
  cf_reg of_alpha = {};
  for (int64_t i = 0; i < r.rows; ++i) {
    const int64_t at = i * width;
    const float mean = r.stats[2 * i], sigma = r.stats[2 * i + 1], factor = inverse(r, sigma);
    cf_reg sum = {}, along = {};
    for (int64_t j = 0; j < width; j += CF_WIDTH) {
      cf_reg v = get<kType>(r.x, at + j, width - j), g = get<kType>(r.grad, at + j, width - j);
      if (kPlace == kBranch) {
        cf_reg u = get<kType>(r.y, at + j, width - j);
        if (kDrop) u = kept(bits, at + j, u * scale);
        v += r.alpha * u;
      }
      // The result's sign says both what ReLU and what dropout let through.
      if (kPlace == kAfter) g = get<kType>(r.after, at + j, width - j) > 0.0f ? g * scale : splat(0.0f);
      const cf_reg c = v - mean;
      cf_store(r.dbeta + j, cf_load(r.dbeta + j) + g);
      cf_store(r.dgamma + j, cf_load(r.dgamma + j) + g * (c * factor));
      g *= cf_load(gamma + j);
      cf_store(line + j, c);
      cf_store(slope + j, g);
      sum += g;
      along += g * c;
    }
    // The second term's limit for a row without any spread is taken to be 0.
    const float spread = sigma > 0.0f || sigma != sigma ? 1.0f / (sigma * divisor) : 0.0f;
    const float level = cf_sum(sum) * share, tilt = cf_sum(along) * factor * factor * spread;
    for (int64_t j = 0; j < width; j += CF_WIDTH) {
      cf_reg d = (cf_load(slope + j) - level) * factor - cf_load(line + j) * tilt;
      if (kPlace == kSum) {
        if (r.grad_sum) d += get<kType>(r.grad_sum, at + j, width - j);
        if (kDrop) d = kept(bits, at + j, d * scale);
      }
      put<kType>(r.dx, at + j, width - j, d);
      if (kPlace == kBranch) {
        if (kDrop) d = kept(bits, at + j, d * scale);
        put<kType>(r.dy, at + j, width - j, d * r.alpha);
        of_alpha += d * get<kType>(r.y, at + j, width - j);
      }
    }
  }
  if (r.dalpha) *r.dalpha = cf_sum(of_alpha);
}

template <int kType, int kMode, bool kDrop>
static void dropout_of(const DropoutRun& r) {
  Bits bits{};
  if (kDrop && kMode != 2) bits = bits_of(r.dropout, r.first, r.count, r.scratch);
  const float scale = scale_of(r.dropout);
  for (int64_t j = 0; j < r.count; j += CF_WIDTH) {
    const int64_t n = r.count - j;
    cf_reg v = get<kType>(r.x, j, n);
    if (kMode == 0 && r.y) v += get<kType>(r.y, j, n);
    if (kMode == 1) v = v < 0.0f ? splat(0.0f) : v;
    if (kMode == 2)
      v = get<kType>(r.y, j, n) > 0.0f ? v * scale : splat(0.0f);
    else if (kDrop)
      v = kept(bits, j, v * scale);
    put<kType>(r.out, j, n, v);
  }
}

template <int kType, int kPlace>
static void fwd_place(const LayerNormRows& r) {
  r.dropout.threshold ? fwd_of<kType, kPlace, true>(r) : fwd_of<kType, kPlace, false>(r);
}
template <int kType, int kPlace>
static void bwd_place(const LayerNormRows& r) {
  r.dropout.threshold ? bwd_of<kType, kPlace, true>(r) : bwd_of<kType, kPlace, false>(r);
}
template <int kType, int kMode>
static void dropout_mode(const DropoutRun& r) {
  r.dropout.threshold ? dropout_of<kType, kMode, true>(r) : dropout_of<kType, kMode, false>(r);
}

#define CF_CHOOSE(name, value)                                   \
  template <int kType>                                           \
  static void name##_type(const decltype(value)& r, int which) { \
    if (which == 0) return name<kType, 0>(r);                    \
    which == 1 ? name<kType, 1>(r) : name<kType, 2>(r);          \
  }
CF_CHOOSE(fwd_place, LayerNormRows{})
CF_CHOOSE(bwd_place, LayerNormRows{})
CF_CHOOSE(dropout_mode, DropoutRun{})
#undef CF_CHOOSE

static void fwd(const LayerNormRows& r) {
  if (r.dtype == 0) return fwd_place_type<0>(r, r.place);
  r.dtype == 1 ? fwd_place_type<1>(r, r.place) : fwd_place_type<2>(r, r.place);
}
static void bwd(const LayerNormRows& r) {
  if (r.dtype == 0) return bwd_place_type<0>(r, r.place);
  r.dtype == 1 ? bwd_place_type<1>(r, r.place) : bwd_place_type<2>(r, r.place);
}
static void dropout(const DropoutRun& r) {
  if (r.dtype == 0) return dropout_mode_type<0>(r, r.mode);
  r.dtype == 1 ? dropout_mode_type<1>(r, r.mode) : dropout_mode_type<2>(r, r.mode);
}

static const LayerNormKernels table = {fwd, bwd, dropout};

}  // namespace CF_LEVEL
}  // namespace chordfast
