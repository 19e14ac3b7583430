#include <pybind11/stl.h>

#include <array>

#include "common/bind.h"
#include "conv3/conv3.h"

namespace chordfast {
namespace {

// x, weights, bias (0: none), out
using Addresses = std::array<uintptr_t, 4>;
// windows, frames, inputs, outputs
using Sizes = std::array<int64_t, 4>;

void conv3(const Addresses& a, const Sizes& n, bool relu, int threads) {
  const cf_conv3 p{reinterpret_cast<const float*>(a[0]),
                   reinterpret_cast<const float*>(a[1]),
                   reinterpret_cast<const float*>(a[2]),
                   reinterpret_cast<float*>(a[3]),
                   n[0],
                   n[1],
                   n[2],
                   n[3],
                   relu};
  py::gil_scoped_release release;
  check(cf_conv3_cpu(&p, threads));
}

}  // namespace

void bind_conv3(py::module_& m) {
#ifndef CF_SIMT_MODULE
  m.def("conv3_cpu", &conv3, py::arg("addresses"), py::arg("sizes"), py::arg("relu"), py::arg("threads"));
#endif
}

}  // namespace chordfast
