#if defined(__x86_64__)
#define CF_LEVEL gru_avx2
#include "gru/gru_kernels.inl"

const chordfast::GruKernels& chordfast::gru_kernels_avx2() { return gru_avx2::table; }
#endif
