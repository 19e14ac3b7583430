// The launcher: one block a song and direction; no synchronisation, capturable.
#include "common/device.cuh"
#include "gru/gru.h"
#include "gru/gru_kernel.cuh"

extern "C" cf_status cf_gru_recurrence_cuda(const cf_gru_recurrence_params* p, int device, void* stream) {
  return CF_GUARD([&]() -> cf_status {
    using namespace chordfast::gru;
    CF_CHECK(p->hidden >= 1 && p->hidden <= kHidden && (p->directions == 1 || p->directions == 2),
             "gru: %d units in %d directions; the CUDA kernel takes up to %d units", p->hidden, p->directions, kHidden);
    CF_CHECK(p->songs >= 0 && p->songs < int64_t{1} << 31, "gru: %lld songs", static_cast<long long>(p->songs));
    if (p->songs == 0) return CF_OK;
    CF_CHECK(p->sums && p->recurrent && p->spans && p->out, "gru: a pointer is missing");
    CF_DEVICE(device);
    const Args args{p->sums, p->recurrent, p->spans, p->out, p->hidden, p->directions};
    const dim3 grid(static_cast<unsigned>(p->songs), static_cast<unsigned>(p->directions));
    CF_LAUNCH((recurrence), grid, dim3(kThreads), 0, stream, args);
    CF_LAUNCH_CHECK(stream);
    return CF_OK;
  });
}
