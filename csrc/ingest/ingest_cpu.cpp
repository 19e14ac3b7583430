// A stream: mix down a cache-sized piece, pass it through the half-band stages, then through the polyphase stage.
#include <algorithm>
#include <memory>
#include <vector>

#include "common/check.h"
#include "ingest/ingest.h"
#include "ingest/ingest_stages.h"

using namespace chordfast::ingest;

struct cf_ingest {
  cf_ingest(int64_t rate_, int64_t target_, int channels_, bool exact)
      : rate(rate_), target(target_), channels(channels_), simd(kernels(chordfast::simd_level())) {
    Design plan = design(rate, target, exact);
    int64_t first = 0;
    half_bands.reserve(plan.half_bands.size());
    for (size_t k = 0; k < plan.half_bands.size(); ++k) {
      const bool last = k + 1 == plan.half_bands.size() && !plan.polyphase;
      half_bands.emplace_back(simd, plan.half_bands[k], first, last);
      first = half_bands.back().first_output();
    }
    if (plan.polyphase) polyphase = std::make_unique<PolyphaseStage>(simd, std::move(plan.filter), first);
  }

  static constexpr int64_t kPiece = 16384;  // frames mixed and filtered while they are in the cache

  int64_t total() const { return (frames * target + rate - 1) / rate; }

  // Let the stages work off their input, or the end of the recording.
  void advance(bool end, Sink& out) {
    const auto step = [&](auto& stage, Sink& to) { end ? stage.finish(total(), to) : stage.run(to); };
    for (size_t k = 0; k < half_bands.size(); ++k) {
      if (k + 1 < half_bands.size() || polyphase) {
        Sink next(k + 1 < half_bands.size() ? half_bands[k + 1].input() : polyphase->input());
        step(half_bands[k], next);
      } else {
        step(half_bands[k], out);
      }
    }
    if (polyphase) step(*polyphase, out);
  }

  // `mix(begin, n, to)` writes the mean of the channels of n frames from `begin` on.
  template <class Mix>
  int64_t push(int64_t n, float* out, Mix&& mix) {
    Sink sink(out, cf_ingest_bound(this, n));
    for (int64_t begin = 0; begin < n; begin += kPiece) {
      const int64_t piece = std::min(kPiece, n - begin);
      mix(begin, piece,
          half_bands.empty() ? polyphase ? polyphase->input().grow(piece) : sink.grow(piece)
                             : half_bands[0].input().grow(piece));
      frames += piece;
      advance(false, sink);
    }
    given += sink.written();
    return sink.written();
  }

  const int64_t rate, target;
  const int channels;
  const Kernels& simd;
  std::vector<HalfBandStage> half_bands;
  std::unique_ptr<PolyphaseStage> polyphase;
  int64_t frames = 0, given = 0, non_finite = 0;
  bool finished = false;
};

extern "C" {

cf_status cf_ingest_create(int64_t rate, int64_t target, int channels, int quality, cf_ingest** out) {
  return CF_GUARD([&]() -> cf_status {
    CF_CHECK(rate >= CF_INGEST_MIN_RATE && rate <= CF_INGEST_MAX_RATE, "sample rate %lld Hz is not in %d..%d Hz",
             static_cast<long long>(rate), CF_INGEST_MIN_RATE, CF_INGEST_MAX_RATE);
    CF_CHECK(target >= CF_INGEST_MIN_RATE && target <= CF_INGEST_MAX_RATE, "target rate %lld Hz is not in %d..%d Hz",
             static_cast<long long>(target), CF_INGEST_MIN_RATE, CF_INGEST_MAX_RATE);
    CF_CHECK(channels >= 1 && channels <= CF_INGEST_MAX_CHANNELS, "%d channels; 1 to %d are supported", channels,
             CF_INGEST_MAX_CHANNELS);
    CF_CHECK(quality == CF_INGEST_EXACT || quality == CF_INGEST_RELAXED, "unknown quality %d", quality);
    *out = new cf_ingest(rate, target, channels, quality == CF_INGEST_EXACT);
    return CF_OK;
  });
}

void cf_ingest_destroy(cf_ingest* stream) { delete stream; }

int64_t cf_ingest_bound(const cf_ingest* s, int64_t frames) {
  return ((s->frames + frames) * s->target + s->rate - 1) / s->rate - s->given;
}

cf_status cf_ingest_push_i16(cf_ingest* s, const int16_t* pcm, int64_t frames, float* out, int64_t* written) {
  return CF_GUARD([&]() -> cf_status {
    CF_CHECK(!s->finished, "the stream was finished; start another one");
    *written = s->push(frames, out, [&](int64_t begin, int64_t n, float* mono) {
      s->simd.mix_i16(pcm + begin * s->channels, n, s->channels, mono);
    });
    return CF_OK;
  });
}

cf_status cf_ingest_push_f32(cf_ingest* s, const float* pcm, int64_t frames, float* out, int64_t* written) {
  return CF_GUARD([&]() -> cf_status {
    CF_CHECK(!s->finished, "the stream was finished; start another one");
    *written = s->push(frames, out, [&](int64_t begin, int64_t n, float* mono) {
      s->non_finite += s->simd.mix_f32(pcm + begin * s->channels, n, s->channels, mono);
    });
    return CF_OK;
  });
}

cf_status cf_ingest_finish(cf_ingest* s, float* out, int64_t* written) {
  return CF_GUARD([&]() -> cf_status {
    CF_CHECK(!s->finished, "the stream was finished already");
    s->finished = true;
    Sink sink(out, cf_ingest_bound(s, 0));
    if (s->frames > 0) s->advance(true, sink);
    s->given += sink.written();
    *written = sink.written();
    return CF_OK;
  });
}

int64_t cf_ingest_non_finite(const cf_ingest* s) { return s->non_finite; }

}  // extern "C"
