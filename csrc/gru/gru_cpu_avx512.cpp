#if defined(__x86_64__)
#define CF_LEVEL gru_avx512
#include "gru/gru_kernels.inl"

const chordfast::GruKernels& chordfast::gru_kernels_avx512() { return gru_avx512::table; }
#endif
