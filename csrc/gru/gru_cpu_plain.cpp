#define CF_LEVEL gru_plain
#include "gru/gru_kernels.inl"

const chordfast::GruKernels& chordfast::gru_kernels_plain() { return gru_plain::table; }
