// Launchers: width and type to kernel, how much goes into shared memory.
#include <algorithm>
#include <cmath>

#include "attention/attention.h"
#include "attention/attention_bwd.cuh"
#include "attention/attention_check.h"
#include "attention/attention_fwd.cuh"
#include "common/check.h"
#include "common/device.cuh"

namespace chordfast {
namespace {

// Dynamic shared memory a block may take: what every GPU of compute capability 8.0 and above has, so that the way of
// computing depends on the shapes only.
constexpr size_t kSharedBudget = 96 * 1024;

// Short sequences get a block of one warp, as the others would have nothing to do.
int warps_for(int64_t queries, int64_t keys) {
  return static_cast<int>(std::clamp<int64_t>((std::max(queries, keys) + kBlockRows - 1) / kBlockRows, 1, kMostWarps));
}

// The longest multiple of 16 rows, at most `rows`, for which bytes(chunk) stays in the budget.
template <class Bytes>
int longest_chunk(int rows, const Bytes& bytes) {
  int chunk = std::max(rows, static_cast<int>(kBlockRows));
  while (chunk > kBlockRows && bytes(chunk) > kSharedBudget) chunk -= kBlockRows;
  return chunk;
}

template <class T, int kWidth>
cf_status launch_fwd(const cf_attention_fwd& p, void* stream) {
  const cf_attention_shape& s = p.shape;
  const int warps = warps_for(s.queries, s.queries);
  const auto bytes = [&](int chunk) { return attention_fwd_shared<T, kWidth>(chunk, warps); };
  const int chunk = longest_chunk(attention_bwd_rows(s.keys), bytes);
  const AttentionFwd a{p, s.scale * 1.44269504088896f, dropout_threshold(s.dropout), chunk};
  const auto kernel = attention_fwd_kernel<T, kWidth>;
  if (const cf_status status = allow_dynamic_shared(kernel, bytes(chunk))) return status;
  const unsigned blocks = static_cast<unsigned>(s.directions * s.batch * s.heads);
  CF_LAUNCH(kernel, dim3(blocks), dim3(32 * warps), bytes(chunk), stream, a);
  CF_LAUNCH_CHECK(stream);
  return CF_OK;
}

template <class T, int kWidth>
cf_status launch_bwd(const cf_attention_bwd& p, void* stream) {
  const cf_attention_shape& s = p.shape;
  const int warps = warps_for(s.queries, s.keys), queries = static_cast<int>(s.queries),
            keys = static_cast<int>(s.keys);
  const auto bytes = [&](int chunk) { return attention_bwd_shared<T, kWidth>(queries, keys, chunk, false, warps); };
  const size_t all = attention_bwd_shared<T, kWidth>(queries, keys, 0, true, warps);
  const bool resident = all <= kSharedBudget;
  const int chunk = longest_chunk(attention_bwd_rows(std::max(s.queries, s.keys)), bytes);
  const AttentionBwd a{p, s.scale * 1.44269504088896f, dropout_threshold(s.dropout), chunk, resident};
  const auto kernel = attention_bwd_kernel<T, kWidth>;
  const size_t shared = resident ? all : bytes(chunk);
  if (const cf_status status = allow_dynamic_shared(kernel, shared)) return status;
  const unsigned blocks = static_cast<unsigned>(s.directions * s.batch * s.heads);
  CF_LAUNCH(kernel, dim3(blocks), dim3(32 * warps), shared, stream, a);
  CF_LAUNCH_CHECK(stream);
  return CF_OK;
}

template <class T>
cf_status launch(const cf_attention_fwd& p, void* stream) {
  if (p.shape.width <= 16) return launch_fwd<T, 16>(p, stream);
  if (p.shape.width <= 32) return launch_fwd<T, 32>(p, stream);
  return launch_fwd<T, 64>(p, stream);
}

template <class T>
cf_status launch(const cf_attention_bwd& p, void* stream) {
  if (p.shape.width <= 16) return launch_bwd<T, 16>(p, stream);
  if (p.shape.width <= 32) return launch_bwd<T, 32>(p, stream);
  return launch_bwd<T, 64>(p, stream);
}

template <class Params>
cf_status run(const Params* p, int device, void* stream) {
  if (const cf_status status = attention_check(p->shape, p->seed)) return status;
  const cf_attention_shape& s = p->shape;
  const int64_t sequences = s.directions * s.batch * s.heads;
  CF_CHECK(sequences < 1LL << 31, "attention: %lld sequences; fewer than 2^31 fit a launch",
           static_cast<long long>(sequences));
  if (sequences == 0) return CF_OK;
  CF_DEVICE(device);
  if (s.dtype == CF_ATTENTION_F16) return launch<__half>(*p, stream);
  if (s.dtype == CF_ATTENTION_BF16) return launch<__nv_bfloat16>(*p, stream);
  return launch<float>(*p, stream);
}

}  // namespace
}  // namespace chordfast

cf_status cf_attention_fwd_cuda(const cf_attention_fwd* p, int device, void* stream) {
  return CF_GUARD([&] { return chordfast::run(p, device, stream); });
}

cf_status cf_attention_bwd_cuda(const cf_attention_bwd* p, int device, void* stream) {
  return CF_GUARD([&] { return chordfast::run(p, device, stream); });
}
