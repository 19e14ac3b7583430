#include "common/status.h"

#include <cstdarg>
#include <cstdio>
#include <cstring>

#include "common/check.h"

namespace {
thread_local char last_error[512] = "";
}

namespace chordfast {

cf_status fail(cf_status status, const char* file, int line, const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  int used = std::vsnprintf(last_error, sizeof last_error, format, arguments);
  va_end(arguments);
  const char* name = std::strrchr(file, '/');
  if (used >= 0 && used < static_cast<int>(sizeof last_error))
    std::snprintf(last_error + used, sizeof last_error - used, " [%s:%d]", name ? name + 1 : file, line);
  return status;
}

}  // namespace chordfast

extern "C" const char* cf_last_error(void) { return last_error; }
