#define CF_LEVEL attention_plain
#include "attention/attention_kernels.inl"

const chordfast::AttentionKernels& chordfast::attention_kernels_plain() { return attention_plain::table; }
