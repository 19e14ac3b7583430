#include <memory>
#include <mutex>
#include <string>

#include "common/bind.h"
#include "ingest/ingest.h"

namespace chordfast {
namespace {

#ifndef CF_SIMT_MODULE

// Owns a stream; the lock turns two calls at the same time into an error instead of a race.
class Ingest {
 public:
  Ingest(int64_t rate, int64_t target, int channels, bool exact) : channels_(channels) {
    cf_ingest* stream = nullptr;
    cf_status status;
    {
      py::gil_scoped_release nogil;
      status = cf_ingest_create(rate, target, channels, exact ? CF_INGEST_EXACT : CF_INGEST_RELAXED, &stream);
    }
    check(status);
    stream_.reset(stream);
  }

  py::array_t<float> push_i16(const Array<int16_t>& pcm) { return push(pcm, cf_ingest_push_i16, false); }
  py::array_t<float> push_f32(const Array<float>& pcm) { return push(pcm, cf_ingest_push_f32, false); }
  py::array_t<float> whole_i16(const Array<int16_t>& pcm) { return push(pcm, cf_ingest_push_i16, true); }
  py::array_t<float> whole_f32(const Array<float>& pcm) { return push(pcm, cf_ingest_push_f32, true); }

  py::array_t<float> finish() {
    const auto lock = alone();
    py::array_t<float> out(cf_ingest_bound(stream_.get(), 0));
    int64_t written = 0;
    float* to = out.mutable_data();
    cf_status status;
    {
      py::gil_scoped_release nogil;
      status = cf_ingest_finish(stream_.get(), to, &written);
    }
    check(status);
    return shrink(std::move(out), written);
  }

  int64_t non_finite() const { return cf_ingest_non_finite(stream_.get()); }

 private:
  struct Free {
    void operator()(cf_ingest* stream) const { cf_ingest_destroy(stream); }
  };

  std::unique_lock<std::mutex> alone() {
    std::unique_lock<std::mutex> lock(mutex_, std::try_to_lock);  // never waits: it would hold the GIL meanwhile
    if (!lock) throw std::runtime_error("the stream is in use by another thread; give each thread its own");
    return lock;
  }

  static py::array_t<float> shrink(py::array_t<float> out, int64_t n) {
    if (n != out.size()) out.resize({n}, false);
    return out;
  }

  template <class T>
  py::array_t<float> push(const Array<T>& pcm, cf_status (*call)(cf_ingest*, const T*, int64_t, float*, int64_t*),
                          bool whole) {
    if (pcm.size() % channels_) throw py::value_error("the block is not a whole number of frames");
    const int64_t frames = pcm.size() / channels_;
    const auto lock = alone();
    py::array_t<float> out(cf_ingest_bound(stream_.get(), frames));
    int64_t written = 0, tail = 0;
    const T* from = pcm.data();
    float* to = out.mutable_data();
    cf_status status;
    {
      py::gil_scoped_release nogil;
      status = call(stream_.get(), from, frames, to, &written);
      if (whole && status == CF_OK) status = cf_ingest_finish(stream_.get(), to + written, &tail);
    }
    check(status);
    return shrink(std::move(out), written + tail);
  }

  const int channels_;
  std::mutex mutex_;
  std::unique_ptr<cf_ingest, Free> stream_;
};

#endif

#if CHORDFAST_WITH_CUDA

// Songs as int64 [n, 3]: first frame, frames, first sample of the result.
using Songs = Array<int64_t>;

const cf_ingest_song* songs_of(const Songs& songs) {
  if (songs.ndim() != 2 || songs.shape(1) != 3) throw py::value_error("songs must have the shape [n, 3]");
  static_assert(sizeof(cf_ingest_song) == 3 * sizeof(int64_t), "no padding");
  return reinterpret_cast<const cf_ingest_song*>(songs.data());
}

struct CudaPlan {
  CudaPlan(int64_t rate, int64_t target, bool exact) {
    check(cf_ingest_cuda_plan_create(rate, target, exact ? CF_INGEST_EXACT : CF_INGEST_RELAXED, &handle));
  }
  ~CudaPlan() { cf_ingest_cuda_plan_destroy(handle); }
  CudaPlan(const CudaPlan&) = delete;

  py::array_t<float> constants() const {
    py::array_t<float> out(cf_ingest_cuda_constants(handle, nullptr));
    cf_ingest_cuda_constants(handle, out.mutable_data());
    return out;
  }
  int64_t workspace(const Songs& songs) const {
    return cf_ingest_cuda_workspace(handle, songs_of(songs), songs.shape(0));
  }
  cf_ingest_cuda_plan* handle = nullptr;
};

void forward_cuda(const CudaPlan& plan, uintptr_t constants, uintptr_t pcm, bool is_float, int channels,
                  const Songs& songs, uintptr_t out, uintptr_t non_finite, uintptr_t workspace, int device,
                  uintptr_t stream) {
  const cf_ingest_cuda_params p{plan.handle,
                                reinterpret_cast<const float*>(constants),
                                reinterpret_cast<const void*>(pcm),
                                is_float,
                                channels,
                                songs_of(songs),
                                songs.shape(0),
                                reinterpret_cast<float*>(out),
                                reinterpret_cast<int64_t*>(non_finite),
                                reinterpret_cast<void*>(workspace)};
  py::gil_scoped_release release;
  check(cf_ingest_forward_cuda(&p, device, reinterpret_cast<void*>(stream)));
}

#endif

}  // namespace

void bind_ingest(py::module_& m) {
#if CHORDFAST_WITH_CUDA
  py::class_<CudaPlan>(m, "IngestCudaPlan", py::module_local())
      .def(py::init<int64_t, int64_t, bool>(), py::arg("rate"), py::arg("target"), py::arg("exact"))
      .def("constants", &CudaPlan::constants)
      .def("workspace", &CudaPlan::workspace, py::arg("songs"));
  m.def("ingest_forward_cuda", &forward_cuda, py::arg("plan"), py::arg("constants"), py::arg("pcm"),
        py::arg("is_float"), py::arg("channels"), py::arg("songs"), py::arg("out"), py::arg("non_finite"),
        py::arg("workspace"), py::arg("device"), py::arg("stream"));
#endif
#ifndef CF_SIMT_MODULE
  py::class_<Ingest>(m, "Ingest", "Resampling of PCM to mono float32; see chordfast.ops.ingest.")
      .def(py::init<int64_t, int64_t, int, bool>(), py::arg("rate"), py::arg("target"), py::arg("channels"),
           py::arg("exact"))
      .def("push_i16", &Ingest::push_i16, py::arg("pcm").noconvert())
      .def("push_f32", &Ingest::push_f32, py::arg("pcm").noconvert())
      .def("whole_i16", &Ingest::whole_i16, py::arg("pcm").noconvert())
      .def("whole_f32", &Ingest::whole_f32, py::arg("pcm").noconvert())
      .def("finish", &Ingest::finish)
      .def_property_readonly("non_finite", &Ingest::non_finite);
#endif
}

}  // namespace chordfast
