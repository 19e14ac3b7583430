#include "common/bind.h"

namespace chordfast {

void bind_viterbi(py::module_&) {}

}  // namespace chordfast
