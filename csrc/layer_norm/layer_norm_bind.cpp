#include <pybind11/stl.h>

#include <array>

#include "common/bind.h"
#include "layer_norm/layer_norm.h"

namespace chordfast {
namespace {

using Sizes = std::array<int64_t, 5>;  // rows, width, dtype, kind, place

template <class T>
T* at(uintptr_t address) {
  return reinterpret_cast<T*>(address);
}

cf_layer_norm_shape shape(const Sizes& n, float epsilon, float dropout, uintptr_t seed) {
  return {n[0],    n[1],    static_cast<int>(n[2]), static_cast<int>(n[3]), static_cast<int>(n[4]),
          epsilon, dropout, at<const int64_t>(seed)};
}

// x, y, alpha, gamma, beta, sum, out, stats; 0 where there is none
using FwdAddresses = std::array<uintptr_t, 8>;
// grad, grad_sum, x, y, out, alpha, gamma, stats, dx, dy, dgamma, dbeta, dalpha
using BwdAddresses = std::array<uintptr_t, 13>;

void fwd(const FwdAddresses& a, const Sizes& sizes, float epsilon, float dropout, uintptr_t seed, int threads) {
  const cf_layer_norm_fwd p{shape(sizes, epsilon, dropout, seed),
                            at<const void>(a[0]),
                            at<const void>(a[1]),
                            at<const float>(a[2]),
                            at<const float>(a[3]),
                            at<const float>(a[4]),
                            at<void>(a[5]),
                            at<void>(a[6]),
                            at<float>(a[7])};
  py::gil_scoped_release release;
  check(cf_layer_norm_fwd_cpu(&p, threads));
}

void bwd(const BwdAddresses& a, const Sizes& sizes, float epsilon, float dropout, uintptr_t seed, int threads) {
  const cf_layer_norm_bwd p{shape(sizes, epsilon, dropout, seed),
                            at<const void>(a[0]),
                            at<const void>(a[1]),
                            at<const void>(a[2]),
                            at<const void>(a[3]),
                            at<const void>(a[4]),
                            at<const float>(a[5]),
                            at<const float>(a[6]),
                            at<const float>(a[7]),
                            at<void>(a[8]),
                            at<void>(a[9]),
                            at<float>(a[10]),
                            at<float>(a[11]),
                            at<float>(a[12])};
  py::gil_scoped_release release;
  check(cf_layer_norm_bwd_cpu(&p, threads));
}

// x, y, out, seed
using DropoutAddresses = std::array<uintptr_t, 4>;
// rows, width, strides of x, y and out, dtype, mode, sequence
using DropoutSizes = std::array<int64_t, 8>;

void dropout(const DropoutAddresses& a, const DropoutSizes& n, float rate, int threads) {
  const cf_dropout p{at<const void>(a[0]),
                     at<const void>(a[1]),
                     at<void>(a[2]),
                     n[0],
                     n[1],
                     n[2],
                     n[3],
                     n[4],
                     static_cast<int>(n[5]),
                     static_cast<int>(n[6]),
                     rate,
                     at<const int64_t>(a[3]),
                     n[7]};
  py::gil_scoped_release release;
  check(cf_dropout_cpu(&p, threads));
}

}  // namespace

void bind_layer_norm(py::module_& m) {
#ifndef CF_SIMT_MODULE
  m.def("layer_norm_fwd_cpu", &fwd, py::arg("addresses"), py::arg("sizes"), py::arg("epsilon"), py::arg("dropout"),
        py::arg("seed"), py::arg("threads"));
  m.def("layer_norm_bwd_cpu", &bwd, py::arg("addresses"), py::arg("sizes"), py::arg("epsilon"), py::arg("dropout"),
        py::arg("seed"), py::arg("threads"));
  m.def("dropout_cpu", &dropout, py::arg("addresses"), py::arg("sizes"), py::arg("dropout"), py::arg("threads"));
#endif
}

}  // namespace chordfast
