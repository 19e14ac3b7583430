// Checks, choice of the SIMD level, and the sharing of tiles among threads; no result depends on the sharing.
#include <algorithm>

#include "common/aligned.h"
#include "common/check.h"
#include "common/cpu_features.h"
#include "common/parallel.h"
#include "conv3/conv3.h"
#include "conv3/conv3_kernels.h"

namespace chordfast {
namespace {

const Conv3Kernels& kernels() {
#if defined(__x86_64__)
  if (simd_level() == Simd::avx512) return conv3_kernels_avx512();
  if (simd_level() == Simd::avx2) return conv3_kernels_avx2();
#endif
  return conv3_kernels_plain();
}

cf_status convolve(const cf_conv3& p, int threads) {
  CF_CHECK(p.windows >= 0 && p.frames >= 0 && threads >= 1, "conv3: %lld windows of %lld frames on %d threads",
           static_cast<long long>(p.windows), static_cast<long long>(p.frames), threads);
  CF_CHECK(p.inputs >= 16 && p.outputs >= 16 && p.inputs % 16 == 0 && p.outputs % 16 == 0,
           "conv3: %lld inputs and %lld outputs; both have to be multiples of 16", static_cast<long long>(p.inputs),
           static_cast<long long>(p.outputs));
  if (p.windows == 0 || p.frames == 0) return CF_OK;
  CF_CHECK(p.x && p.weights && p.out, "conv3: a pointer is missing");
  const AlignedFloats packed = aligned_floats(conv3_packed(p.inputs, p.outputs));
  kernels().pack(p.weights, p.inputs, p.outputs, packed.get());
  const int64_t tiles = p.windows * ((p.frames + kConvTile - 1) / kConvTile);
  const int64_t blocks = (tiles + kConvRows - 1) / kConvRows, pieces = std::min<int64_t>(blocks, threads);
  parallel_for(pieces, threads, [&](int64_t piece) {
    const AlignedFloats scratch = aligned_floats(conv3_scratch(p.inputs));
    Conv3Run r{p.x, packed.get(), p.bias, p.out, p.frames, p.inputs, p.outputs, 0, 0, p.relu, scratch.get()};
    r.first = blocks * piece / pieces * kConvRows;
    r.last = std::min(tiles, blocks * (piece + 1) / pieces * kConvRows);
    kernels().run(r);
  });
  return CF_OK;
}

}  // namespace
}  // namespace chordfast

extern "C" cf_status cf_conv3_cpu(const cf_conv3* params, int threads) {
  return CF_GUARD([&] { return chordfast::convolve(*params, threads); });
}
