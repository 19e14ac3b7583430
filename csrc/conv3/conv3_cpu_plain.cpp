#define CF_LEVEL conv3_plain
#include "conv3/conv3_kernels.inl"

const chordfast::Conv3Kernels& chordfast::conv3_kernels_plain() { return conv3_plain::table; }
