// Checks, choice of the SIMD level, and the cutting into blocks of rows, on which no result depends but through the
// block's fixed size: sums over rows are the same whatever the number of threads.
#include <algorithm>
#include <type_traits>
#include <vector>

#include "common/check.h"
#include "common/cpu_features.h"
#include "common/parallel.h"
#include "common/philox.h"
#include "layer_norm/layer_norm.h"
#include "layer_norm/layer_norm_kernels.h"

namespace chordfast {
namespace {

constexpr int64_t kBlockElements = 8192;  // with what is written, they fit the nearest cache

const LayerNormKernels& kernels() {
#if defined(__x86_64__)
  if (simd_level() == Simd::avx512) return layer_norm_kernels_avx512();
  if (simd_level() == Simd::avx2) return layer_norm_kernels_avx2();
#endif
  return layer_norm_kernels_plain();
}

int64_t block_rows(int64_t width) { return std::clamp<int64_t>(kBlockElements / width, 1, 256); }

NormDropout dropout_of(float rate, const int64_t* seed, int64_t sequence) {
  NormDropout d{0, 0, seed ? dropout_threshold(rate) : 0};
  if (d.threshold) {
    const DropoutKey key = dropout_key(seed[0], seed[1], sequence);
    d.key = key.key;
    d.high = key.high;
  }
  return d;
}

template <class T>
T* move(T* p, int64_t elements, int dtype) {
  using Byte = std::conditional_t<std::is_const_v<T>, const char, char>;
  return p ? static_cast<T*>(static_cast<Byte*>(p) + elements * (dtype == CF_NORM_F32 ? 4 : 2)) : nullptr;
}

cf_status check(const cf_layer_norm_shape& s, int threads) {
  CF_CHECK(s.rows >= 0 && s.width >= (s.kind == CF_NORM_SAMPLE ? 2 : 1) && threads >= 1,
           "layer_norm: %lld rows of width %lld on %d threads", static_cast<long long>(s.rows),
           static_cast<long long>(s.width), threads);
  CF_CHECK(s.dtype >= 0 && s.dtype <= CF_NORM_BF16 && s.kind >= 0 && s.kind <= CF_NORM_POPULATION && s.place >= 0 &&
               s.place <= CF_NORM_AFTER,
           "layer_norm: dtype %d, kind %d, place %d", s.dtype, s.kind, s.place);
  CF_CHECK(s.epsilon >= 0, "layer_norm: epsilon %g", static_cast<double>(s.epsilon));
  CF_CHECK(!(s.dropout > 0) || s.seed, "layer_norm: dropout without a seed");
  return CF_OK;
}

LayerNormRows rows_of(const cf_layer_norm_shape& s) {
  LayerNormRows r{};
  r.width = s.width;
  r.epsilon = s.epsilon;
  r.dtype = s.dtype, r.kind = s.kind, r.place = s.place;
  r.alpha = 1.0f;
  r.dropout = dropout_of(s.dropout, s.seed, 0);
  return r;
}

cf_status forward(const cf_layer_norm_fwd& p, int threads) {
  const cf_layer_norm_shape& s = p.shape;
  if (const cf_status status = check(s, threads)) return status;
  if (s.rows == 0) return CF_OK;
  CF_CHECK(p.x && p.gamma && p.beta && p.out && p.stats && (s.place != CF_NORM_BRANCH || p.y),
           "layer_norm: a pointer is missing");
  const int64_t block = block_rows(s.width), blocks = (s.rows + block - 1) / block;
  LayerNormRows all = rows_of(s);
  if (p.alpha) all.alpha = *p.alpha;
  all.gamma = p.gamma, all.beta = p.beta;
  parallel_for(blocks, threads, [&](int64_t n) {
    LayerNormRows r = all;
    const int64_t row = n * block;
    r.rows = std::min(block, s.rows - row);
    r.first = row * s.width;
    r.x = move(p.x, r.first, s.dtype), r.y = move(p.y, r.first, s.dtype);
    r.sum = move(p.sum, r.first, s.dtype), r.out = move(p.out, r.first, s.dtype);
    r.stats = p.stats + 2 * row;
    std::vector<float> scratch(layer_norm_scratch(r.rows, s.width));
    r.scratch = scratch.data();
    kernels().fwd(r);
  });
  return CF_OK;
}

// to[j] = sum over blocks of from[block][j], in their order.
void add_blocks(const float* from, int64_t blocks, int64_t stride, int64_t width, float* to) {
  std::vector<double> sums(width);
  for (int64_t n = 0; n < blocks; ++n)
    for (int64_t j = 0; j < width; ++j) sums[j] += from[n * stride + j];
  for (int64_t j = 0; j < width; ++j) to[j] = static_cast<float>(sums[j]);
}

cf_status backward(const cf_layer_norm_bwd& p, int threads) {
  const cf_layer_norm_shape& s = p.shape;
  if (const cf_status status = check(s, threads)) return status;
  CF_CHECK(p.dgamma && p.dbeta && (s.rows == 0 || (p.grad && p.x && p.gamma && p.stats && p.dx)),
           "layer_norm: a pointer is missing");
  CF_CHECK(s.rows == 0 || ((s.place == CF_NORM_BRANCH) == (p.y && p.dy) && (s.place == CF_NORM_AFTER) == !!p.out),
           "layer_norm: y, dy or out does not belong to place %d", s.place);
  const int64_t block = block_rows(s.width), blocks = (s.rows + block - 1) / block, padded = layer_norm_padded(s.width);
  const int64_t stride = 2 * padded + 1;
  std::vector<float> partial(blocks * stride);
  LayerNormRows all = rows_of(s);
  if (p.alpha) all.alpha = *p.alpha;
  all.gamma = p.gamma;
  parallel_for(blocks, threads, [&](int64_t n) {
    LayerNormRows r = all;
    const int64_t row = n * block;
    r.rows = std::min(block, s.rows - row);
    r.first = row * s.width;
    r.grad = move(p.grad, r.first, s.dtype), r.grad_sum = move(p.grad_sum, r.first, s.dtype);
    r.x = move(p.x, r.first, s.dtype), r.y = move(p.y, r.first, s.dtype), r.after = move(p.out, r.first, s.dtype);
    r.dx = move(p.dx, r.first, s.dtype), r.dy = move(p.dy, r.first, s.dtype);
    r.stats = const_cast<float*>(p.stats) + 2 * row;
    r.dgamma = partial.data() + n * stride, r.dbeta = r.dgamma + padded, r.dalpha = r.dbeta + padded;
    std::vector<float> scratch(layer_norm_scratch(r.rows, s.width));
    r.scratch = scratch.data();
    kernels().bwd(r);
  });
  add_blocks(partial.data(), blocks, stride, s.width, p.dgamma);
  add_blocks(partial.data() + padded, blocks, stride, s.width, p.dbeta);
  if (p.dalpha) add_blocks(partial.data() + 2 * padded, blocks, stride, 1, p.dalpha);
  return CF_OK;
}

cf_status drop(const cf_dropout& p, int threads) {
  CF_CHECK(p.rows >= 0 && p.width >= 0 && threads >= 1, "dropout: %lld rows of width %lld on %d threads",
           static_cast<long long>(p.rows), static_cast<long long>(p.width), threads);
  CF_CHECK(p.dtype >= 0 && p.dtype <= CF_NORM_BF16 && p.mode >= 0 && p.mode <= CF_DROPOUT_RELU_BWD,
           "dropout: dtype %d, mode %d", p.dtype, p.mode);
  CF_CHECK(!(p.dropout > 0) || p.seed || p.mode == CF_DROPOUT_RELU_BWD, "dropout: no seed");
  if (p.rows == 0 || p.width == 0) return CF_OK;
  CF_CHECK(p.x && p.out && (p.mode != CF_DROPOUT_RELU_BWD || p.y), "dropout: a pointer is missing");
  DropoutRun all{};
  all.dtype = p.dtype, all.mode = p.mode;
  all.dropout = dropout_of(p.dropout, p.seed, p.sequence);
  if (p.mode == CF_DROPOUT_RELU_BWD) all.dropout.threshold = dropout_threshold(p.dropout);
  // Runs of elements that lie one after the other in all tensors.
  const bool dense = p.x_stride == p.width && p.out_stride == p.width && (!p.y || p.y_stride == p.width);
  const int64_t n = p.rows * p.width, run = dense ? kBlockElements : p.width;
  const int64_t runs = (n + run - 1) / run, block = dense ? 1 : block_rows(p.width);
  parallel_for((runs + block - 1) / block, threads, [&](int64_t piece) {
    std::vector<float> scratch(layer_norm_scratch(1, run));
    for (int64_t k = piece * block; k < std::min(runs, (piece + 1) * block); ++k) {
      DropoutRun r = all;
      r.first = k * run;
      r.count = std::min(run, n - r.first);
      r.x = move(p.x, dense ? r.first : k * p.x_stride, p.dtype);
      r.y = move(p.y, dense ? r.first : k * p.y_stride, p.dtype);
      r.out = move(p.out, dense ? r.first : k * p.out_stride, p.dtype);
      r.scratch = scratch.data();
      kernels().dropout(r);
    }
  });
  return CF_OK;
}

}  // namespace
}  // namespace chordfast

extern "C" cf_status cf_layer_norm_fwd_cpu(const cf_layer_norm_fwd* params, int threads) {
  return CF_GUARD([&] { return chordfast::forward(*params, threads); });
}

extern "C" cf_status cf_layer_norm_bwd_cpu(const cf_layer_norm_bwd* params, int threads) {
  return CF_GUARD([&] { return chordfast::backward(*params, threads); });
}

extern "C" cf_status cf_dropout_cpu(const cf_dropout* params, int threads) {
  return CF_GUARD([&] { return chordfast::drop(*params, threads); });
}
