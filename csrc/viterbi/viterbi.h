// Most likely state path of a chain that stays put with probability p and else moves to any other state alike.
#pragma once

#include <stdint.h>

#include "common/status.h"

#ifdef __cplusplus
extern "C" {
#endif

// `log_probs` [frames, classes] row by row, no NaN, no +inf; `log_initial` [classes] or NULL for a uniform start;
// `path` [frames] receives the states. Of equally good predecessors (sums rounded to double) the lowest wins.
// CF_INVALID when a frame holds NaN or +inf (*bad_frame says which, else it is -1) or when no path has a probability
// above zero.
// Time O(frames * classes), memory O(frames + classes).
cf_status cf_viterbi_f32(const float* log_probs, int64_t frames, int64_t classes, double self_transition,
                         const double* log_initial, int64_t* path, int64_t* bad_frame);
cf_status cf_viterbi_f64(const double* log_probs, int64_t frames, int64_t classes, double self_transition,
                         const double* log_initial, int64_t* path, int64_t* bad_frame);

#ifdef __cplusplus
}
#endif
