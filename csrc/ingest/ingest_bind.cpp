#include "common/bind.h"

namespace chordfast {

void bind_ingest(py::module_&) {}

}  // namespace chordfast
