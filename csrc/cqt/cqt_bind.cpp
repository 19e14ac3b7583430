#include <memory>

#include "common/bind.h"
#include "cqt/cqt.h"

namespace chordfast {
namespace {

// The filters as Python holds them, and pointers into them.
struct Filters {
  explicit Filters(const py::object& f) {
    auto array = [&](const char* name) { return f.attr(name).cast<Array<float>>(); };
    composite = array("composite"), direct = array("direct"), octave = array("octave"), scale = array("scale");
    decimation = array("decimation"), half_band = array("half_band");
    c.n_octaves = static_cast<int>(scale.shape(0));
    c.bins = static_cast<int>(scale.shape(1));
    c.n_bins = f.attr("n_bins").cast<int>();
    c.n_fft = f.attr("n_fft").cast<int>();
    c.hop = f.attr("hop").cast<int>();
    c.halvings = f.attr("halvings").cast<int>();
    c.n_composite = static_cast<int>(composite.shape(0));
    c.n_direct = static_cast<int>(direct.shape(0));
    c.n_decimation = static_cast<int>(decimation.size());
    c.composite = composite.data();
    c.direct = direct.data();
    c.octave = octave.data();
    c.scale = scale.data();
    c.decimation = decimation.data();
    c.half_band = half_band.data();
    c.log_output = f.attr("log_output").cast<bool>();
  }
  Array<float> composite, direct, octave, scale, decimation, half_band;
  cf_cqt_filters c{};
};

// Songs as int64 [n, 3]: begin, samples, row.
using Songs = Array<int64_t>;

const cf_cqt_song* songs_of(const Songs& songs) {
  if (songs.ndim() != 2 || songs.shape(1) != 3) throw py::value_error("songs must have the shape [n, 3]");
  static_assert(sizeof(cf_cqt_song) == 3 * sizeof(int64_t), "no padding");
  return reinterpret_cast<const cf_cqt_song*>(songs.data());
}

#ifndef CF_SIMT_MODULE

struct Plan {
  explicit Plan(const py::object& f) {
    const Filters filters(f);
    n_bins = filters.c.n_bins;
    check(cf_cqt_plan_create(&filters.c, &handle));
  }
  ~Plan() { cf_cqt_plan_destroy(handle); }
  Plan(const Plan&) = delete;
  cf_cqt_plan* handle = nullptr;
  int n_bins = 0;
};

struct Stream {
  explicit Stream(std::shared_ptr<Plan> p) : plan(std::move(p)) { check(cf_cqt_stream_create(plan->handle, &handle)); }
  ~Stream() { cf_cqt_stream_destroy(handle); }
  Stream(const Stream&) = delete;

  py::array_t<float> take() {
    const int64_t rows = cf_cqt_stream_ready(handle);
    py::array_t<float> out({rows < 0 ? int64_t{0} : rows, static_cast<int64_t>(plan->n_bins)});
    if (rows > 0) check(cf_cqt_stream_take(handle, out.mutable_data(), rows));
    return out;
  }
  py::array_t<float> push(const Array<float>& x) {
    const float* data = x.data();
    const int64_t n = x.size();
    {
      py::gil_scoped_release release;
      check(cf_cqt_stream_push(handle, data, n));
    }
    return take();
  }
  py::array_t<float> finish() {
    {
      py::gil_scoped_release release;
      check(cf_cqt_stream_finish(handle));
    }
    return take();
  }
  std::shared_ptr<Plan> plan;
  cf_cqt_stream* handle = nullptr;
};

#endif

#if CHORDFAST_WITH_CUDA

struct CudaPlan {
  explicit CudaPlan(const py::object& f) {
    const Filters filters(f);
    check(cf_cqt_cuda_plan_create(&filters.c, &handle));
  }
  ~CudaPlan() { cf_cqt_cuda_plan_destroy(handle); }
  CudaPlan(const CudaPlan&) = delete;

  py::array_t<float> constants() const {
    py::array_t<float> out(cf_cqt_cuda_constants(handle, nullptr));
    cf_cqt_cuda_constants(handle, out.mutable_data());
    return out;
  }
  int64_t workspace(const Songs& songs) const { return cf_cqt_cuda_workspace(handle, songs_of(songs), songs.shape(0)); }
  cf_cqt_cuda_plan* handle = nullptr;
};

void forward_cuda(const CudaPlan& plan, uintptr_t constants, uintptr_t x, const Songs& songs, uintptr_t out, bool half,
                  float subtract, float multiply, uintptr_t workspace, int device, uintptr_t stream) {
  const cf_cqt_cuda_params p{plan.handle,
                             reinterpret_cast<const float*>(constants),
                             reinterpret_cast<const float*>(x),
                             songs_of(songs),
                             songs.shape(0),
                             reinterpret_cast<void*>(out),
                             half,
                             subtract,
                             multiply,
                             reinterpret_cast<void*>(workspace)};
  py::gil_scoped_release release;
  check(cf_cqt_forward_cuda(&p, device, reinterpret_cast<void*>(stream)));
}

#endif

}  // namespace

void bind_cqt(py::module_& m) {
#if CHORDFAST_WITH_CUDA
  py::class_<CudaPlan>(m, "CqtCudaPlan", py::module_local())
      .def(py::init<const py::object&>(), py::arg("filters"))
      .def("constants", &CudaPlan::constants)
      .def("workspace", &CudaPlan::workspace, py::arg("songs"));
  m.def("cqt_forward_cuda", &forward_cuda, py::arg("plan"), py::arg("constants"), py::arg("x"), py::arg("songs"),
        py::arg("out"), py::arg("half"), py::arg("subtract"), py::arg("multiply"), py::arg("workspace"),
        py::arg("device"), py::arg("stream"));
#endif
#ifndef CF_SIMT_MODULE
  py::class_<Plan, std::shared_ptr<Plan>>(m, "CqtPlan")
      .def(py::init<const py::object&>(), py::arg("filters"))
      .def("frames", [](const Plan& p, int64_t n) { return cf_cqt_frames(p.handle, n); }, py::arg("n"));
  py::class_<Stream>(m, "CqtStream")
      .def(py::init<std::shared_ptr<Plan>>(), py::arg("plan"))
      .def("push", &Stream::push, py::arg("x"))
      .def("finish", &Stream::finish);
  m.def(
      "cqt_forward_cpu",
      [](const Plan& plan, uintptr_t x, int64_t rows, int64_t n, int64_t row_stride, uintptr_t out, int threads) {
        py::gil_scoped_release release;
        check(cf_cqt_forward_cpu(plan.handle, reinterpret_cast<const float*>(x), rows, n, row_stride,
                                 reinterpret_cast<float*>(out), threads));
      },
      py::arg("plan"), py::arg("x"), py::arg("rows"), py::arg("n"), py::arg("row_stride"), py::arg("out"),
      py::arg("threads"));
  m.def(
      "cqt_forward_ragged_cpu",
      [](const Plan& plan, uintptr_t x, const Songs& songs, uintptr_t out, int threads) {
        const cf_cqt_song* list = songs_of(songs);
        const int64_t n = songs.shape(0);
        py::gil_scoped_release release;
        check(cf_cqt_forward_ragged_cpu(plan.handle, reinterpret_cast<const float*>(x), list, n,
                                        reinterpret_cast<float*>(out), threads));
      },
      py::arg("plan"), py::arg("x"), py::arg("songs"), py::arg("out"), py::arg("threads"));
#endif
}

}  // namespace chordfast
