// The C side of the test module: which thread runs next, and what was run so far.
#pragma once

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { CF_SIMT_FORWARD = 0, CF_SIMT_REVERSE = 1, CF_SIMT_SHUFFLE = 2 };

typedef struct cf_simt_counters {
  int64_t launches, blocks, threads, barriers, collectives;
  double seconds;  // spent inside launches
} cf_simt_counters;

// Order of blocks and threads in the launches to come; `seed` matters to CF_SIMT_SHUFFLE only.
void cf_simt_set_schedule(int order, uint64_t seed);
void cf_simt_get_schedule(int* order, uint64_t* seed);
cf_simt_counters cf_simt_count(void);
// 1 when built with AddressSanitizer, which ends the process where a kernel leaves an array.
int cf_simt_sanitized(void);

#ifdef __cplusplus
}
#endif
