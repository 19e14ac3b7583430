// Resampling of PCM to mono float32: flat C ABI.
#pragma once

#include <stdint.h>

#include "common/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct cf_ingest cf_ingest;

enum { CF_INGEST_EXACT = 0, CF_INGEST_RELAXED = 1 };
enum { CF_INGEST_MAX_CHANNELS = 8, CF_INGEST_MIN_RATE = 1000, CF_INGEST_MAX_RATE = 768000 };

// A stream from `channels` interleaved channels at `rate` Hz to mono at `target` Hz; *out is freed by
// cf_ingest_destroy.
cf_status cf_ingest_create(int64_t rate, int64_t target, int channels, int quality, cf_ingest** out);
void cf_ingest_destroy(cf_ingest* stream);

// Upper bound of the samples that pushing `frames` more and finishing can give.
int64_t cf_ingest_bound(const cf_ingest* stream, int64_t frames);

// Feed `frames` frames; *written samples are appended at `out`, which holds at least cf_ingest_bound() of them.
// The bits of the result do not depend on how the frames are split into calls.
cf_status cf_ingest_push_i16(cf_ingest* stream, const int16_t* pcm, int64_t frames, float* out, int64_t* written);
cf_status cf_ingest_push_f32(cf_ingest* stream, const float* pcm, int64_t frames, float* out, int64_t* written);
// The tail. In all, ceil(frames * target / rate) samples have then been written. No push may follow.
cf_status cf_ingest_finish(cf_ingest* stream, float* out, int64_t* written);

// Float samples that were NaN or infinite so far; each was replaced by 0.
int64_t cf_ingest_non_finite(const cf_ingest* stream);

#ifdef __cplusplus
}
#endif
