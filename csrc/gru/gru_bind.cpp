#include <pybind11/stl.h>

#include <vector>

#include "common/bind.h"
#include "gru/gru.h"

namespace chordfast {

void bind_gru(py::module_& m) {
#ifndef CF_SIMT_MODULE
  m.def(
      "gru_fwd_cpu",
      [](uintptr_t x, int64_t frames, int input, int hidden, int directions, uintptr_t kernel, uintptr_t recurrent,
         uintptr_t bias, const std::vector<int64_t>& lengths, uintptr_t out, int threads) {
        cf_gru_params p{};
        p.input = input;
        p.hidden = hidden;
        p.directions = directions;
        p.kernel = reinterpret_cast<const float*>(kernel);
        p.recurrent = reinterpret_cast<const float*>(recurrent);
        p.bias = reinterpret_cast<const float*>(bias);
        p.x = reinterpret_cast<const float*>(x);
        p.lengths = lengths.data();
        p.songs = static_cast<int64_t>(lengths.size());
        p.frames = frames;
        p.out = reinterpret_cast<float*>(out);
        py::gil_scoped_release release;
        check(cf_gru_fwd_cpu(&p, threads));
      },
      py::arg("x"), py::arg("frames"), py::arg("input"), py::arg("hidden"), py::arg("directions"), py::arg("kernel"),
      py::arg("recurrent"), py::arg("bias"), py::arg("lengths"), py::arg("out"), py::arg("threads"));
#endif
#if CHORDFAST_WITH_CUDA
  m.def(
      "gru_recurrence_cuda",
      [](uintptr_t sums, uintptr_t recurrent, uintptr_t spans, int64_t songs, int hidden, int directions, uintptr_t out,
         int device, uintptr_t stream) {
        cf_gru_recurrence_params p{};
        p.sums = reinterpret_cast<const float*>(sums);
        p.recurrent = reinterpret_cast<const float*>(recurrent);
        p.spans = reinterpret_cast<const int64_t*>(spans);
        p.out = reinterpret_cast<float*>(out);
        p.songs = songs;
        p.hidden = hidden;
        p.directions = directions;
        py::gil_scoped_release release;
        check(cf_gru_recurrence_cuda(&p, device, reinterpret_cast<void*>(stream)));
      },
      py::arg("sums"), py::arg("recurrent"), py::arg("spans"), py::arg("songs"), py::arg("hidden"),
      py::arg("directions"), py::arg("out"), py::arg("device"), py::arg("stream"));
#endif
}

}  // namespace chordfast
