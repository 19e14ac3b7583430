// What every <op>_bind.cpp needs: status to exception, and the array type.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include "common/status.h"

namespace chordfast {

namespace py = pybind11;

// Contiguous input of exactly this type; the Python op converts, so that a copy is never a surprise.
template <class T>
using Array = py::array_t<T, py::array::c_style>;

inline void check(cf_status status) {
  if (status == CF_OK) return;
  if (status == CF_INVALID) throw py::value_error(cf_last_error());
  if (status == CF_NO_MEMORY) throw std::bad_alloc();
  throw std::runtime_error(cf_last_error());
}

}  // namespace chordfast
