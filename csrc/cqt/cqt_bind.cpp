#include "common/bind.h"

namespace chordfast {

void bind_cqt(py::module_&) {}

}  // namespace chordfast
