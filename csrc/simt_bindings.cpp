// The module chordfast._simt: every op's CUDA functions, run by the host for tests, and the schedule they run under.
#include "common/bind.h"
#include "simt/simt_scheduler.h"
#include "simt/simt_test.h"

namespace chordfast {

#define CF_SIMT_OP(op) void bind_##op(py::module_& m);
CF_SIMT_OPS
#undef CF_SIMT_OP

static const char* const schedules[] = {"forward", "reverse", "shuffle"};

static void set_schedule(const std::string& order, uint64_t seed) {
  for (int i = 0; i < 3; ++i)
    if (order == schedules[i]) return cf_simt_set_schedule(i, seed);
  throw py::value_error("schedule '" + order + "' is none of forward, reverse, shuffle");
}

static py::tuple get_schedule() {
  int order = 0;
  uint64_t seed = 0;
  cf_simt_get_schedule(&order, &seed);
  return py::make_tuple(schedules[order], seed);
}

static py::dict counters() {
  const cf_simt_counters now = cf_simt_count();
  py::dict count;
  count["launches"] = now.launches;
  count["blocks"] = now.blocks;
  count["threads"] = now.threads;
  count["barriers"] = now.barriers;
  count["collectives"] = now.collectives;
  count["seconds"] = now.seconds;
  return count;
}

// One case of the self-test (csrc/simt/simt_test.cu) over its arrays of floats.
static void self_test(const std::string& name, const py::array_t<float, py::array::c_style>& in,
                      py::array_t<float, py::array::c_style>& out, int option) {
  cf_status status;
  {
    const float* from = in.data();
    float* to = out.mutable_data();
    const int64_t in_size = in.size(), out_size = out.size();
    py::gil_scoped_release release;
    status = cf_simt_test(name.c_str(), from, in_size, to, out_size, option);
  }
  check(status);
}

}  // namespace chordfast

PYBIND11_MODULE(_simt, m) {
  using namespace chordfast;
  m.doc() = "The CUDA kernels, run by the host thread by thread: for tests only, see docs/simt.md.";
  m.attr("address_sanitizer") = static_cast<bool>(cf_simt_sanitized());
  m.def("set_schedule", &set_schedule, py::arg("order"), py::arg("seed") = 0,
        "Order of blocks and threads from now on: forward, reverse, or shuffle with a seed.");
  m.def("schedule", &get_schedule, "The order in force and its seed.");
  m.def("counters", &counters, "What ran so far: launches, blocks, threads, barriers, collectives, seconds.");
  m.def("self_test", &self_test, py::arg("name"), py::arg("input"), py::arg("output").noconvert(),
        py::arg("option") = 0, "Runs one case of the module's own test.");
#define CF_SIMT_OP(op) bind_##op(m);
  CF_SIMT_OPS
#undef CF_SIMT_OP
}
