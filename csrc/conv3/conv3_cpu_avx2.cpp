#if defined(__x86_64__)
#define CF_LEVEL conv3_avx2
#include "conv3/conv3_kernels.inl"

const chordfast::Conv3Kernels& chordfast::conv3_kernels_avx2() { return conv3_avx2::table; }
#endif
