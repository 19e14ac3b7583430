// The plan, the one-shot call and the C ABI.
#include <algorithm>
#include <cstring>
#include <memory>

#include "common/check.h"
#include "common/cpu_features.h"
#include "common/parallel.h"
#include "cqt/cqt_stream.h"

using chordfast::CqtStream;

struct cf_cqt_stream {
  explicit cf_cqt_stream(const cf_cqt_plan& plan) : impl(plan) {}
  CqtStream impl;
};

int64_t cf_cqt_plan::behind() const {
  const int64_t folded = std::max(composite_taps, direct_taps) + 16;
  const int64_t unpaired = n_fft + chordfast::kFirReach;
  const int64_t cut = 2 * chordfast::kEdge + chordfast::kFirReach;
  return std::max({folded, unpaired, cut}) + 16;
}

int64_t cf_cqt_plan::ahead() const {
  const int64_t folded = std::max(composite_taps, direct_taps) + 16;
  const int64_t untouched_by_end =
      n_fft + 2 * chordfast::kEdge;  // frames further than this from the end need no correction
  const int64_t end = 2 * chordfast::kEdge + chordfast::kFirPadded;
  return std::max({folded, untouched_by_end, end}) + 16;
}

int64_t cf_cqt_plan::frames(int64_t n) const {
  if (n < 2) return 0;
  int64_t fewest = INT64_MAX;
  for (int level = 0; level < levels(); ++level, n = (n + 1) / 2)
    if (level >= halvings) fewest = std::min(fewest, 1 + n / (hop >> level));
  return fewest;
}

namespace {

const chordfast::CqtKernels& kernels() {
#if defined(__x86_64__)
  if (chordfast::simd_level() == chordfast::Simd::avx512) return chordfast::cqt_kernels_avx512();
  if (chordfast::simd_level() == chordfast::Simd::avx2) return chordfast::cqt_kernels_avx2();
#endif
  return chordfast::cqt_kernels_plain();
}

// [taps, 2*bins] -> [taps rounded up to 16, lanes], zeros elsewhere
std::vector<float> padded(const float* from, int taps, int width, int lanes) {
  std::vector<float> to((taps + 15) / 16 * 16 * static_cast<size_t>(lanes), 0.0f);
  for (int t = 0; t < taps; ++t)
    std::memcpy(&to[static_cast<size_t>(t) * lanes], from + t * width, width * sizeof(float));
  return to;
}

}  // namespace

extern "C" cf_status cf_cqt_plan_create(const cf_cqt_filters* f, cf_cqt_plan** out) {
  return CF_GUARD([&] {
    CF_CHECK(f->n_octaves >= 1 && f->bins >= 1 && f->n_bins >= 1 && f->n_bins <= f->n_octaves * f->bins,
             "cqt: %d bins do not fit %d octaves of %d", f->n_bins, f->n_octaves, f->bins);
    CF_CHECK(f->n_fft >= 4 && f->halvings >= 0 && f->hop >> (f->halvings + f->n_octaves - 1) >= 1,
             "cqt: hop %d is too short for %d octaves", f->hop, f->n_octaves);
    CF_CHECK(f->n_decimation == chordfast::kFirReach + 1, "cqt: the decimation filter has %d taps, not %d",
             f->n_decimation, chordfast::kFirReach + 1);
    auto plan = std::make_unique<cf_cqt_plan>();
    plan->n_octaves = f->n_octaves;
    plan->bins = f->bins;
    plan->n_bins = f->n_bins;
    plan->n_fft = f->n_fft;
    plan->hop = f->hop;
    plan->halvings = f->halvings;
    plan->log_output = f->log_output != 0;
    plan->lanes = (2 * f->bins + 15) / 16 * 16;
    plan->composite_taps = (f->n_composite + 15) / 16 * 16;
    plan->direct_taps = (f->n_direct + 15) / 16 * 16;
    plan->composite = padded(f->composite, f->n_composite, 2 * f->bins, plan->lanes);
    plan->direct = padded(f->direct, f->n_direct, 2 * f->bins, plan->lanes);
    plan->octave = padded(f->octave, f->n_fft, 2 * f->bins, plan->lanes);
    plan->scale.assign(f->scale, f->scale + f->n_octaves * f->bins);
    plan->scale.resize(plan->scale.size() + 16, 0.0f);  // read, never used, by the last vector
    plan->decimation.assign(chordfast::kFirPadded, 0.0f);
    for (int i = -chordfast::kFirReach; i <= chordfast::kFirReach; ++i)
      plan->decimation[i + chordfast::kFirReach] = f->decimation[i < 0 ? -i : i];
    plan->short_decimation.assign(chordfast::kShortPadded, 0.0f);
    std::copy_n(&plan->decimation[chordfast::kFirReach - chordfast::kShortReach], 2 * chordfast::kShortReach + 1,
                plan->short_decimation.begin());
    plan->half_band.assign(f->half_band, f->half_band + 9);
    plan->kernels = &kernels();
    *out = plan.release();
    return CF_OK;
  });
}

extern "C" void cf_cqt_plan_destroy(cf_cqt_plan* plan) { delete plan; }

extern "C" int64_t cf_cqt_frames(const cf_cqt_plan* plan, int64_t n) { return plan->frames(n); }

extern "C" cf_status cf_cqt_forward_cpu(const cf_cqt_plan* plan, const float* x, int64_t rows, int64_t n,
                                        int64_t row_stride, float* out, int threads) {
  return CF_GUARD([&] {
    CF_CHECK(rows >= 0 && n >= 0 && threads >= 1, "cqt: negative size or no thread");
    const int64_t frames = plan->frames(n);
    if (frames == 0 || rows == 0) return CF_OK;
    // Long rows are cut into ranges of frames; each pays for a run-up of about 22 frames.
    const int64_t ranges = std::max<int64_t>(1, std::min<int64_t>((threads + rows - 1) / rows, frames / 256));
    chordfast::parallel_for(rows * ranges, threads, [&](int64_t piece) {
      const int64_t r = piece / ranges, part = piece % ranges;
      const int64_t first = frames * part / ranges, end = frames * (part + 1) / ranges;
      const float* row = x + r * row_stride;
      CqtStream stream(*plan, first);
      stream.write_to(out + (r * frames + first) * plan->n_bins, end);
      const int64_t start = CqtStream::start_sample(*plan, first);
      stream.push(row + start, n - start);
      if (!stream.done()) stream.finish();
    });
    return CF_OK;
  });
}

extern "C" cf_status cf_cqt_stream_create(const cf_cqt_plan* plan, cf_cqt_stream** stream) {
  return CF_GUARD([&] {
    *stream = new cf_cqt_stream(*plan);
    return CF_OK;
  });
}

extern "C" void cf_cqt_stream_destroy(cf_cqt_stream* stream) { delete stream; }

extern "C" cf_status cf_cqt_stream_push(cf_cqt_stream* stream, const float* x, int64_t n) {
  return CF_GUARD([&] {
    stream->impl.push(x, n);
    return CF_OK;
  });
}

extern "C" cf_status cf_cqt_stream_finish(cf_cqt_stream* stream) {
  return CF_GUARD([&] {
    stream->impl.finish();
    return CF_OK;
  });
}

extern "C" int64_t cf_cqt_stream_ready(const cf_cqt_stream* stream) { return stream->impl.ready(); }

extern "C" cf_status cf_cqt_stream_take(cf_cqt_stream* stream, float* out, int64_t rows) {
  return CF_GUARD([&] {
    stream->impl.take(out, rows);
    return CF_OK;
  });
}
