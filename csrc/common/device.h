// CUDA devices as seen by the statically linked runtime.
#pragma once

#include "common/status.h"

#ifdef __cplusplus
extern "C" {
#endif

// Number of usable devices; 0 whenever the driver is missing, too old or reports any error.
int cf_cuda_device_count(void);
// Name of a device into `name` (at most `size` bytes with the final zero), its compute capability into major and minor.
cf_status cf_cuda_device_name(int device, char* name, int size, int* major, int* minor);

#ifdef __cplusplus
}
#endif
