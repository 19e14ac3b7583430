#if defined(__x86_64__)
#define CF_LEVEL attention_avx2
#include "attention/attention_kernels.inl"

const chordfast::AttentionKernels& chordfast::attention_kernels_avx2() { return attention_avx2::table; }
#endif
