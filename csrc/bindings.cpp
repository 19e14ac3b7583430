// The Python module: one bind_<op> per op, and what the build knows about itself.
#include "common/bind.h"
#include "common/cpu_features.h"
#include "common/device.h"

namespace chordfast {

void bind_attention(py::module_& m);
void bind_conv3(py::module_& m);
void bind_cqt(py::module_& m);
void bind_ingest(py::module_& m);
void bind_kd_loss(py::module_& m);
void bind_layer_norm(py::module_& m);
void bind_viterbi(py::module_& m);
void bind_gru(py::module_& m);

static py::dict build_info() {
  py::dict info;
  info["compiler"] = CHORDFAST_COMPILER;
  info["with_cuda"] = static_cast<bool>(CHORDFAST_WITH_CUDA);
  info["cuda_version"] = CHORDFAST_CUDA_VERSION;
  info["cuda_archs"] = CHORDFAST_WITH_CUDA ? CHORDFAST_CUDA_ARCHS : "";
  info["simd"] = simd_name(simd_level());
  return info;
}

static py::list cuda_devices() {
  py::list devices;
#if CHORDFAST_WITH_CUDA
  for (int i = 0; i < cf_cuda_device_count(); ++i) {
    char name[256];
    int major = 0, minor = 0;
    if (cf_cuda_device_name(i, name, sizeof name, &major, &minor) == CF_OK)
      devices.append(py::make_tuple(py::str(name), major, minor));
  }
#endif
  return devices;
}

}  // namespace chordfast

PYBIND11_MODULE(_C, m) {
  m.doc() = "Native kernels of chordfast; use chordfast.ops, which checks arguments.";
  m.def("build_info", &chordfast::build_info, "Compiler, CUDA and SIMD level of this build.");
  m.def("cuda_devices", &chordfast::cuda_devices, "Usable CUDA devices as (name, major, minor).");
  chordfast::bind_attention(m);
  chordfast::bind_conv3(m);
  chordfast::bind_cqt(m);
  chordfast::bind_ingest(m);
  chordfast::bind_kd_loss(m);
  chordfast::bind_layer_norm(m);
  chordfast::bind_viterbi(m);
  chordfast::bind_gru(m);
}
