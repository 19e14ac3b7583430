#define CF_LEVEL layer_norm_plain
#include "layer_norm/layer_norm_kernels.inl"

const chordfast::LayerNormKernels& chordfast::layer_norm_kernels_plain() { return layer_norm_plain::table; }
