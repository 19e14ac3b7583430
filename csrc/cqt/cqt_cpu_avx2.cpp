#if defined(__x86_64__)
#define CF_LEVEL cqt_avx2
#include "cqt/cqt_kernels.inl"

const chordfast::CqtKernels& chordfast::cqt_kernels_avx2() { return cqt_avx2::table; }
#endif
