#define CF_LEVEL cqt_plain
#include "cqt/cqt_kernels.inl"

const chordfast::CqtKernels& chordfast::cqt_kernels_plain() { return cqt_plain::table; }
