// Checks, choice of the SIMD level, and the sharing of heads among threads.
#include <algorithm>
#include <cmath>

#include "attention/attention.h"
#include "attention/attention_check.h"
#include "attention/attention_kernels.h"
#include "attention/attention_philox.h"
#include "common/aligned.h"
#include "common/check.h"
#include "common/cpu_features.h"
#include "common/parallel.h"

namespace chordfast {
namespace {

const AttentionKernels& kernels() {
#if defined(__x86_64__)
  if (simd_level() == Simd::avx512) return attention_kernels_avx512();
  if (simd_level() == Simd::avx2) return attention_kernels_avx2();
#endif
  return attention_kernels_plain();
}

// The `n`-th sequence of a tensor [directions, batch, heads, ...].
template <class T>
T* sequence(const cf_attention_tensor& t, const cf_attention_shape& s, int64_t n) {
  const int64_t head = n % s.heads, row = n / s.heads;
  const int64_t offset = row / s.batch * t.stride[0] + row % s.batch * t.stride[1] + head * t.stride[2];
  return reinterpret_cast<T*>(static_cast<char*>(t.data) + offset * (s.dtype == CF_ATTENTION_F32 ? 4 : 2));
}

AttentionHead common(const cf_attention_shape& s, int64_t n, const uint8_t* mask, const int64_t* seed) {
  AttentionHead h{};
  h.mask = mask ? mask + n / s.heads % s.batch * s.keys : nullptr;
  h.queries = static_cast<int>(s.queries);
  h.keys = static_cast<int>(s.keys);
  h.width = static_cast<int>(s.width);
  h.dtype = s.dtype;
  h.direction =
      s.direction == CF_ATTENTION_BOTH ? CF_ATTENTION_FORWARD + static_cast<int>(n / (s.heads * s.batch)) : s.direction;
  h.scale = s.scale;
  h.threshold = dropout_threshold(s.dropout);
  if (h.threshold) {
    const DropoutKey key = dropout_key(seed[0], seed[1], n);
    h.key = key.key;
    h.high = key.high;
  }
  return h;
}

// Calls kernel(head(n), scratch) for every sequence, in pieces that share their scratch.
template <class Head>
cf_status for_each_sequence(const cf_attention_shape& s, int threads, void (*kernel)(const AttentionHead&, float*),
                            const Head& head) {
  const int64_t count = s.directions * s.batch * s.heads, floats = attention_scratch(s.queries, s.keys, s.width);
  // Starting a thread takes about as long as 500 000 multiplications: no more of them than the work is worth.
  const int64_t worth = 1 + count * s.queries * s.keys * (s.width + 16) / 1000000;
  threads = static_cast<int>(std::clamp<int64_t>(std::min<int64_t>(worth, threads), 1, std::max<int64_t>(count, 1)));
  const int64_t pieces = threads == 1 ? std::min<int64_t>(count, 1) : std::min<int64_t>(count, 4 * threads);
  parallel_for(pieces, threads, [&](int64_t piece) {
    const AlignedFloats scratch = aligned_floats(floats);
    const int64_t last = count * (piece + 1) / pieces;
    AttentionHead heads[2];
    for (int64_t n = count * piece / pieces, first = n; n < last; ++n) {
      if (n == first) heads[n % 2] = head(n);
      if (n + 1 < last) heads[(n + 1) % 2] = head(n + 1);
      heads[n % 2].next = n + 1 < last ? &heads[(n + 1) % 2] : nullptr;
      kernel(heads[n % 2], scratch.get());
    }
  });
  return CF_OK;
}

}  // namespace
}  // namespace chordfast

using namespace chordfast;

cf_status cf_attention_fwd_cpu(const cf_attention_fwd* p, int threads) {
  return CF_GUARD([&]() -> cf_status {
    if (const cf_status status = attention_check(p->shape, p->seed)) return status;
    const cf_attention_shape& s = p->shape;
    return for_each_sequence(s, threads, kernels().forward, [&](int64_t n) {
      AttentionHead h = common(s, n, p->mask, p->seed);
      h.q = sequence<const void>(p->q, s, n);
      h.k = sequence<const void>(p->k, s, n);
      h.v = sequence<const void>(p->v, s, n);
      h.out = sequence<void>(p->out, s, n);
      h.q_stride = p->q.stride[3];
      h.k_stride = p->k.stride[3];
      h.v_stride = p->v.stride[3];
      h.out_stride = p->out.stride[3];
      h.lse = p->lse + n * s.queries;
      return h;
    });
  });
}

cf_status cf_attention_bwd_cpu(const cf_attention_bwd* p, int threads) {
  return CF_GUARD([&]() -> cf_status {
    if (const cf_status status = attention_check(p->shape, p->seed)) return status;
    const cf_attention_shape& s = p->shape;
    return for_each_sequence(s, threads, kernels().backward, [&](int64_t n) {
      AttentionHead h = common(s, n, p->mask, p->seed);
      h.q = sequence<const void>(p->q, s, n);
      h.k = sequence<const void>(p->k, s, n);
      h.v = sequence<const void>(p->v, s, n);
      h.grad = sequence<const void>(p->grad, s, n);
      h.saved = sequence<const void>(p->out, s, n);
      h.dq = sequence<void>(p->dq, s, n);
      h.dk = sequence<void>(p->dk, s, n);
      h.dv = sequence<void>(p->dv, s, n);
      h.q_stride = p->q.stride[3];
      h.k_stride = p->k.stride[3];
      h.v_stride = p->v.stride[3];
      h.grad_stride = p->grad.stride[3];
      h.saved_stride = p->out.stride[3];
      h.dq_stride = p->dq.stride[3];
      h.dk_stride = p->dk.stride[3];
      h.dv_stride = p->dv.stride[3];
      h.lse = const_cast<float*>(p->lse) + n * s.queries;
      return h;
    });
  });
}
