#if defined(__x86_64__)
#define CF_LEVEL attention_avx512
#include "attention/attention_kernels.inl"

const chordfast::AttentionKernels& chordfast::attention_kernels_avx512() { return attention_avx512::table; }
#endif
