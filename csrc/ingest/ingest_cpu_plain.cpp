#define LANES 4
#define TABLE kernels_plain
#include "ingest/ingest_kernels.inl"
