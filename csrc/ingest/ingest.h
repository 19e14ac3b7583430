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

// On a GPU, batches of recordings of one rate. The caller keeps the plan's constants and a workspace there.
typedef struct cf_ingest_cuda_plan cf_ingest_cuda_plan;

// `frames` frames from pcm + begin * channels on; their ceil(frames * target / rate) samples go to out + first.
typedef struct cf_ingest_song {
  int64_t begin, frames, first;
} cf_ingest_song;

cf_status cf_ingest_cuda_plan_create(int64_t rate, int64_t target, int quality, cf_ingest_cuda_plan** plan);
void cf_ingest_cuda_plan_destroy(cf_ingest_cuda_plan* plan);
int64_t cf_ingest_cuda_constants(const cf_ingest_cuda_plan* plan,
                                 float* host);  // how many; written if host is not null
int64_t cf_ingest_cuda_workspace(const cf_ingest_cuda_plan* plan, const cf_ingest_song* songs, int64_t n_songs);

typedef struct cf_ingest_cuda_params {
  const cf_ingest_cuda_plan* plan;
  const float* constants;       // on the GPU, aligned to 16 bytes
  const void* pcm;              // on the GPU, interleaved
  int is_float, channels;       // float32 or int16
  const cf_ingest_song* songs;  // on the host, read before the call returns
  int64_t n_songs;
  float* out;           // on the GPU
  int64_t* non_finite;  // on the GPU, [n_songs]: what was NaN or infinite (and taken as 0) is added
  void* workspace;      // on the GPU, aligned to 256 bytes
} cf_ingest_cuda_params;

// Asynchronous on `stream`, no memory allocated, can be captured into a graph. Deterministic.
cf_status cf_ingest_forward_cuda(const cf_ingest_cuda_params* params, int device, void* stream);

#ifdef __cplusplus
}
#endif
