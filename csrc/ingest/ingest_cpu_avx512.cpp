#if defined(__x86_64__)
#define LANES 16
#define TABLE kernels_avx512
#include "ingest/ingest_kernels.inl"
#endif
