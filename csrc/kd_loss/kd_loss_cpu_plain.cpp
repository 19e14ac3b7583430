#define CF_LEVEL kd_loss_plain
#include "kd_loss/kd_loss_kernels.inl"

const chordfast::KdLossKernels& chordfast::kd_loss_kernels_plain() { return kd_loss_plain::table; }
