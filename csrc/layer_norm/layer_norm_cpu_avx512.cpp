#if defined(__x86_64__)
#define CF_LEVEL layer_norm_avx512
#include "layer_norm/layer_norm_kernels.inl"

const chordfast::LayerNormKernels& chordfast::layer_norm_kernels_avx512() { return layer_norm_avx512::table; }
#endif
