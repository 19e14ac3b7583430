#if defined(__x86_64__)
#define CF_LEVEL kd_loss_avx512
#include "kd_loss/kd_loss_kernels.inl"

const chordfast::KdLossKernels& chordfast::kd_loss_kernels_avx512() { return kd_loss_avx512::table; }
#endif
