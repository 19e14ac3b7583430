#include <pybind11/stl.h>

#include <optional>
#include <vector>

#include "common/bind.h"
#include "viterbi/viterbi.h"

namespace chordfast {

using Initial = std::optional<Array<double>>;

static cf_status decode(const float* p, int64_t t, int64_t k, double s, const double* i, int64_t* out, int64_t* bad) {
  return cf_viterbi_f32(p, t, k, s, i, out, bad);
}
static cf_status decode(const double* p, int64_t t, int64_t k, double s, const double* i, int64_t* out, int64_t* bad) {
  return cf_viterbi_f64(p, t, k, s, i, out, bad);
}

// Sequences of different length, same number of classes; returns (paths, -1) or (empty, index of the sequence that was
// refused): the Python op names the reason, which it finds by looking, so that the good path pays for no second scan.
template <class T>
static py::tuple viterbi(const std::vector<Array<T>>& sequences, double self_transition, const Initial& initial) {
  struct Job {
    const T* log_probs;
    int64_t frames, classes;
    int64_t* path;
  };
  std::vector<Job> jobs;
  py::list paths;
  for (const auto& sequence : sequences) {
    if (sequence.ndim() != 2) throw py::value_error("log_probs is not a matrix");
    if (initial && initial->size() != sequence.shape(1)) throw py::value_error("initial has another number of classes");
    py::array_t<int64_t> path(sequence.shape(0));
    jobs.push_back({sequence.data(), sequence.shape(0), sequence.shape(1), path.mutable_data()});
    paths.append(std::move(path));
  }
  const double* start = initial ? initial->data() : nullptr;
  cf_status status = CF_OK;
  size_t done = 0;
  {
    py::gil_scoped_release release;
    int64_t bad_frame = -1;
    for (; done < jobs.size(); ++done) {
      const Job& job = jobs[done];
      status = decode(job.log_probs, job.frames, job.classes, self_transition, start, job.path, &bad_frame);
      if (status != CF_OK) break;
    }
  }
  if (status == CF_INVALID) return py::make_tuple(py::list(), done);
  check(status);
  return py::make_tuple(paths, -1);
}

void bind_viterbi(py::module_& m) {
  m.def("viterbi_f32", &viterbi<float>, py::arg("sequences"), py::arg("self_transition"), py::arg("initial"));
  m.def("viterbi_f64", &viterbi<double>, py::arg("sequences"), py::arg("self_transition"), py::arg("initial"));
}

}  // namespace chordfast
