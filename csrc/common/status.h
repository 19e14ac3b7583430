// Status codes and the last error's text: the only types that the C ABI of every op shares.
#pragma once

#ifdef __cplusplus
extern "C" {
#endif

typedef enum cf_status {
  CF_OK = 0,
  CF_INVALID = 1,  // an argument is out of range
  CF_NO_MEMORY = 2,
  CF_CUDA = 3,  // the CUDA runtime reported an error
  CF_INTERNAL = 4,
} cf_status;

// Text of the last error on this thread; valid until the next failing call on it.
const char* cf_last_error(void);

#ifdef __cplusplus
}
#endif
