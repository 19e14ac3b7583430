#include <pybind11/stl.h>

#include <array>

#include "attention/attention.h"
#include "common/bind.h"

namespace chordfast {
namespace {

using Sizes = std::array<int64_t, 8>;  // directions, batch, heads, queries, keys, width, direction, dtype
using Place = std::array<int64_t, 5>;  // address, strides of direction, batch, head, time

cf_attention_shape shape(const Sizes& n, float scale, float dropout) {
  return {n[0], n[1], n[2], n[3], n[4], n[5], static_cast<int>(n[6]), static_cast<int>(n[7]), scale, dropout};
}

cf_attention_tensor tensor(const Place& p) {
  return {reinterpret_cast<void*>(static_cast<uintptr_t>(p[0])), {p[1], p[2], p[3], p[4]}};
}

// Launch is cf_status(const params*, where...); `Where` is threads, or device and stream.
template <class Launch, class... Where>
void fwd(Launch launch, const Sizes& sizes, float scale, float dropout, const Place& q, const Place& k, const Place& v,
         const Place& out, uintptr_t lse, uintptr_t mask, uintptr_t seed, Where... where) {
  const cf_attention_fwd p{shape(sizes, scale, dropout),
                           tensor(q),
                           tensor(k),
                           tensor(v),
                           tensor(out),
                           reinterpret_cast<float*>(lse),
                           reinterpret_cast<const uint8_t*>(mask),
                           reinterpret_cast<const int64_t*>(seed)};
  py::gil_scoped_release release;
  check(launch(&p, where...));
}

template <class Launch, class... Where>
void bwd(Launch launch, const Sizes& sizes, float scale, float dropout, const Place& grad, const Place& q,
         const Place& k, const Place& v, const Place& out, const Place& dq, const Place& dk, const Place& dv,
         uintptr_t lse, uintptr_t mask, uintptr_t seed, Where... where) {
  const cf_attention_bwd p{shape(sizes, scale, dropout),
                           tensor(grad),
                           tensor(q),
                           tensor(k),
                           tensor(v),
                           tensor(out),
                           tensor(dq),
                           tensor(dk),
                           tensor(dv),
                           reinterpret_cast<const float*>(lse),
                           reinterpret_cast<const uint8_t*>(mask),
                           reinterpret_cast<const int64_t*>(seed)};
  py::gil_scoped_release release;
  check(launch(&p, where...));
}

}  // namespace

void bind_attention(py::module_& m) {
#define CF_FWD_ARGUMENTS                                                                                            \
  py::arg("sizes"), py::arg("scale"), py::arg("dropout"), py::arg("q"), py::arg("k"), py::arg("v"), py::arg("out"), \
      py::arg("lse"), py::arg("mask"), py::arg("seed")
#define CF_BWD_ARGUMENTS                                                                                             \
  py::arg("sizes"), py::arg("scale"), py::arg("dropout"), py::arg("grad"), py::arg("q"), py::arg("k"), py::arg("v"), \
      py::arg("out"), py::arg("dq"), py::arg("dk"), py::arg("dv"), py::arg("lse"), py::arg("mask"), py::arg("seed")
#ifndef CF_SIMT_MODULE
  m.def(
      "attention_fwd_cpu",
      [](const Sizes& sizes, float scale, float dropout, const Place& q, const Place& k, const Place& v,
         const Place& out, uintptr_t lse, uintptr_t mask, uintptr_t seed,
         int threads) { fwd(cf_attention_fwd_cpu, sizes, scale, dropout, q, k, v, out, lse, mask, seed, threads); },
      CF_FWD_ARGUMENTS, py::arg("threads"));
  m.def(
      "attention_bwd_cpu",
      [](const Sizes& sizes, float scale, float dropout, const Place& grad, const Place& q, const Place& k,
         const Place& v, const Place& out, const Place& dq, const Place& dk, const Place& dv, uintptr_t lse,
         uintptr_t mask, uintptr_t seed, int threads) {
        bwd(cf_attention_bwd_cpu, sizes, scale, dropout, grad, q, k, v, out, dq, dk, dv, lse, mask, seed, threads);
      },
      CF_BWD_ARGUMENTS, py::arg("threads"));
#endif
#if defined(CF_SIMT_MODULE) || CHORDFAST_WITH_CUDA
  m.def(
      "attention_fwd_cuda",
      [](const Sizes& sizes, float scale, float dropout, const Place& q, const Place& k, const Place& v,
         const Place& out, uintptr_t lse, uintptr_t mask, uintptr_t seed, int device, uintptr_t stream) {
        fwd(cf_attention_fwd_cuda, sizes, scale, dropout, q, k, v, out, lse, mask, seed, device,
            reinterpret_cast<void*>(stream));
      },
      CF_FWD_ARGUMENTS, py::arg("device"), py::arg("stream"));
  m.def(
      "attention_bwd_cuda",
      [](const Sizes& sizes, float scale, float dropout, const Place& grad, const Place& q, const Place& k,
         const Place& v, const Place& out, const Place& dq, const Place& dk, const Place& dv, uintptr_t lse,
         uintptr_t mask, uintptr_t seed, int device, uintptr_t stream) {
        bwd(cf_attention_bwd_cuda, sizes, scale, dropout, grad, q, k, v, out, dq, dk, dv, lse, mask, seed, device,
            reinterpret_cast<void*>(stream));
      },
      CF_BWD_ARGUMENTS, py::arg("device"), py::arg("stream"));
#endif
#undef CF_FWD_ARGUMENTS
#undef CF_BWD_ARGUMENTS
}

}  // namespace chordfast
