// C ABI of the constant-Q transform: a plan made from filters, one-shot and streaming use on the CPU, batches on a GPU.
#pragma once

#include <stdint.h>

#include "common/status.h"

#ifdef __cplusplus
extern "C" {
#endif

// Filters as chordfast/ops/feature_plan.py designs them; copied by cf_cqt_plan_create.
typedef struct cf_cqt_filters {
  int n_octaves, bins, n_bins, n_fft, hop, halvings;
  int n_composite, n_direct, n_decimation;  // taps; n_decimation counts from the centre outwards
  const float* composite;                   // [n_composite, bins, 2]
  const float* direct;                      // [n_direct, bins, 2]
  const float* octave;                      // [n_fft, bins, 2]
  const float* scale;                       // [n_octaves, bins], top octave first
  const float* decimation;                  // [n_decimation]
  const float* half_band;                   // [9]
  int log_output;                           // 1: ln(|C| + 1e-6), 0: |C|
} cf_cqt_filters;

typedef struct cf_cqt_plan cf_cqt_plan;
typedef struct cf_cqt_stream cf_cqt_stream;

cf_status cf_cqt_plan_create(const cf_cqt_filters* filters, cf_cqt_plan** plan);
void cf_cqt_plan_destroy(cf_cqt_plan* plan);

// Frames of a signal of n samples; 0 for n < 2.
int64_t cf_cqt_frames(const cf_cqt_plan* plan, int64_t n);

// x [rows, n] with row_stride floats from row to row -> out [rows, cf_cqt_frames(n), n_bins].
// Rows and, within long rows, ranges of frames are shared by `threads` threads; the result does not depend on their
// number.
cf_status cf_cqt_forward_cpu(const cf_cqt_plan* plan, const float* x, int64_t rows, int64_t n, int64_t row_stride,
                             float* out, int threads);

// A song of a batch: `samples` from x[begin] on; its frames go to the rows of `out` from `row` on.
typedef struct cf_cqt_song {
  int64_t begin, samples, row;
} cf_cqt_song;

// The same for songs of any lengths; every song's frames have the bits that a call with this song alone gives.
cf_status cf_cqt_forward_ragged_cpu(const cf_cqt_plan* plan, const float* x, const cf_cqt_song* songs, int64_t n_songs,
                                    float* out, int threads);

// Streaming: push samples, take the frames that are complete. Memory is bounded; the result equals the one-shot call's.
cf_status cf_cqt_stream_create(const cf_cqt_plan* plan, cf_cqt_stream** stream);
void cf_cqt_stream_destroy(cf_cqt_stream* stream);
cf_status cf_cqt_stream_push(cf_cqt_stream* stream, const float* x, int64_t n);
cf_status cf_cqt_stream_finish(cf_cqt_stream* stream);
int64_t cf_cqt_stream_ready(const cf_cqt_stream* stream);
cf_status cf_cqt_stream_take(cf_cqt_stream* stream, float* out, int64_t rows);

// On a GPU. The caller keeps the plan's constants (cf_cqt_cuda_constants copies them to the host) and a workspace
// there.
typedef struct cf_cqt_cuda_plan cf_cqt_cuda_plan;

cf_status cf_cqt_cuda_plan_create(const cf_cqt_filters* filters, cf_cqt_cuda_plan** plan);
void cf_cqt_cuda_plan_destroy(cf_cqt_cuda_plan* plan);
int64_t cf_cqt_cuda_constants(const cf_cqt_cuda_plan* plan,
                              float* host);  // how many floats; written if host is not null
int64_t cf_cqt_cuda_workspace(const cf_cqt_cuda_plan* plan, const cf_cqt_song* songs, int64_t n_songs);  // bytes

typedef struct cf_cqt_cuda_params {
  const cf_cqt_cuda_plan* plan;
  const float* constants;    // on the GPU, aligned to 16 bytes
  const float* x;            // on the GPU
  const cf_cqt_song* songs;  // on the host, read before the call returns
  int64_t n_songs;
  void* out;                 // on the GPU, [rows, n_bins]; rows that belong to no song are left alone
  int out_half;              // 1: fp16, 0: fp32
  float subtract, multiply;  // applied to the result: (value - subtract) * multiply
  void* workspace;           // on the GPU, aligned to 256 bytes
} cf_cqt_cuda_params;

// Asynchronous on `stream`, no memory allocated, can be captured into a graph. Deterministic; a song's frames do not
// depend on the rest of the batch.
cf_status cf_cqt_forward_cuda(const cf_cqt_cuda_params* params, int device, void* stream);

#ifdef __cplusplus
}
#endif
