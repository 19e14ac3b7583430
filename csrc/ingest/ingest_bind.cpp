#include <memory>
#include <mutex>
#include <string>

#include "common/bind.h"
#include "ingest/ingest.h"

namespace chordfast {
namespace {

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

}  // namespace

void bind_ingest(py::module_& m) {
  py::class_<Ingest>(m, "Ingest", "Resampling of PCM to mono float32; see chordfast.ops.ingest.")
      .def(py::init<int64_t, int64_t, int, bool>(), py::arg("rate"), py::arg("target"), py::arg("channels"),
           py::arg("exact"))
      .def("push_i16", &Ingest::push_i16, py::arg("pcm").noconvert())
      .def("push_f32", &Ingest::push_f32, py::arg("pcm").noconvert())
      .def("whole_i16", &Ingest::whole_i16, py::arg("pcm").noconvert())
      .def("whole_f32", &Ingest::whole_f32, py::arg("pcm").noconvert())
      .def("finish", &Ingest::finish)
      .def_property_readonly("non_finite", &Ingest::non_finite);
}

}  // namespace chordfast
