#include <pybind11/stl.h>

#include <array>

#include "common/bind.h"
#include "kd_loss/kd_loss.h"

namespace chordfast {
namespace {

// student, teacher, target, mask, class_weights, gradient, loss, stats, valid, workspace; 0 where there is none
using Addresses = std::array<uintptr_t, 10>;
using Sizes = std::array<int64_t, 6>;   // rows, classes, dtype, ignore_index, has_ignore, selective
using Numbers = std::array<double, 5>;  // temperature, alpha, gamma, low, high

cf_kd_loss_params params(const Addresses& at, const Sizes& sizes, const Numbers& numbers) {
  auto pointer = [&](int i) { return reinterpret_cast<void*>(at[i]); };
  cf_kd_loss_params p{};
  p.student = pointer(0);
  p.teacher = pointer(1);
  p.target = static_cast<const int64_t*>(pointer(2));
  p.mask = static_cast<const uint8_t*>(pointer(3));
  p.class_weights = pointer(4);
  p.gradient = pointer(5);
  p.loss = pointer(6);
  p.stats = pointer(7);
  p.valid = static_cast<int64_t*>(pointer(8));
  p.workspace = pointer(9);
  p.rows = sizes[0];
  p.classes = sizes[1];
  p.dtype = static_cast<int>(sizes[2]);
  p.ignore_index = sizes[3];
  p.has_ignore = sizes[4] != 0;
  p.selective = sizes[5] != 0;
  p.temperature = numbers[0];
  p.alpha = numbers[1];
  p.gamma = numbers[2];
  p.low = numbers[3];
  p.high = numbers[4];
  return p;
}

// `where` is the number of threads, or device and stream.
template <class Launch, class... Where>
void fwd(Launch launch, const Addresses& addresses, const Sizes& sizes, const Numbers& numbers, Where... where) {
  const cf_kd_loss_params p = params(addresses, sizes, numbers);
  py::gil_scoped_release release;
  check(launch(&p, where...));
}

template <class Launch, class... Where>
void bwd(Launch launch, uintptr_t gradient, uintptr_t grad_output, uintptr_t stats, uintptr_t out, int64_t n, int dtype,
         Where... where) {
  py::gil_scoped_release release;
  check(launch(reinterpret_cast<const void*>(gradient), reinterpret_cast<const void*>(grad_output),
               reinterpret_cast<const void*>(stats), reinterpret_cast<void*>(out), n, dtype, where...));
}

}  // namespace

void bind_kd_loss(py::module_& m) {
#define CF_FWD_ARGUMENTS py::arg("addresses"), py::arg("sizes"), py::arg("numbers")
#define CF_BWD_ARGUMENTS \
  py::arg("gradient"), py::arg("grad_output"), py::arg("stats"), py::arg("out"), py::arg("n"), py::arg("dtype")
#ifndef CF_SIMT_MODULE
  m.def(
      "kd_loss_fwd_cpu",
      [](const Addresses& addresses, const Sizes& sizes, const Numbers& numbers, int threads) {
        fwd(cf_kd_loss_fwd_cpu, addresses, sizes, numbers, threads);
      },
      CF_FWD_ARGUMENTS, py::arg("threads"));
  m.def(
      "kd_loss_bwd_cpu",
      [](uintptr_t gradient, uintptr_t grad_output, uintptr_t stats, uintptr_t out, int64_t n, int dtype, int threads) {
        bwd(cf_kd_loss_bwd_cpu, gradient, grad_output, stats, out, n, dtype, threads);
      },
      CF_BWD_ARGUMENTS, py::arg("threads"));
#endif
#if CHORDFAST_WITH_CUDA
  m.def("kd_loss_workspace_cuda", &cf_kd_loss_workspace, py::arg("rows"));
  m.def(
      "kd_loss_fwd_cuda",
      [](const Addresses& addresses, const Sizes& sizes, const Numbers& numbers, int device, uintptr_t stream) {
        fwd(cf_kd_loss_fwd_cuda, addresses, sizes, numbers, device, reinterpret_cast<void*>(stream));
      },
      CF_FWD_ARGUMENTS, py::arg("device"), py::arg("stream"));
  m.def(
      "kd_loss_bwd_cuda",
      [](uintptr_t gradient, uintptr_t grad_output, uintptr_t stats, uintptr_t out, int64_t n, int dtype, int device,
         uintptr_t stream) {
        bwd(cf_kd_loss_bwd_cuda, gradient, grad_output, stats, out, n, dtype, device, reinterpret_cast<void*>(stream));
      },
      CF_BWD_ARGUMENTS, py::arg("device"), py::arg("stream"));
#endif
#undef CF_FWD_ARGUMENTS
#undef CF_BWD_ARGUMENTS
}

}  // namespace chordfast
