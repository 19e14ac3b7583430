// The module's own test cases, run by name: small kernels, right ones and wrong ones.
#pragma once

#include <stdint.h>

#include "common/status.h"

#ifdef __cplusplus
extern "C" {
#endif

cf_status cf_simt_test(const char* name, const float* in, int64_t in_size, float* out, int64_t out_size, int option);
cf_status cf_simt_fault(const char* name, const float* in, int64_t in_size, float* out, int64_t out_size, int option);

#ifdef __cplusplus
}
#endif
