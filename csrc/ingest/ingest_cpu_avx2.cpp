#if defined(__x86_64__)
#define LANES 8
#define TABLE kernels_avx2
#include "ingest/ingest_kernels.inl"
#endif
