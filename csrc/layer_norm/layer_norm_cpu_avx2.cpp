#if defined(__x86_64__)
#define CF_LEVEL layer_norm_avx2
#include "layer_norm/layer_norm_kernels.inl"

const chordfast::LayerNormKernels& chordfast::layer_norm_kernels_avx2() { return layer_norm_avx2::table; }
#endif
