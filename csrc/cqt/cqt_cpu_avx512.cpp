#if defined(__x86_64__)
#define CF_LEVEL cqt_avx512
#include "cqt/cqt_kernels.inl"

const chordfast::CqtKernels& chordfast::cqt_kernels_avx512() { return cqt_avx512::table; }
#endif
