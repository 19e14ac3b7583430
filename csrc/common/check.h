// Turns failed conditions and exceptions into a status and a text with file and line.
#pragma once

#include <exception>
#include <new>

#include "common/status.h"

namespace chordfast {

cf_status fail(cf_status status, const char* file, int line, const char* format, ...)
    __attribute__((format(printf, 4, 5)));

// Runs `body` (returns cf_status); no exception crosses the C ABI.
template <class Body>
cf_status guarded(const char* file, int line, Body&& body) {
  try {
    return body();
  } catch (const std::bad_alloc&) {
    return fail(CF_NO_MEMORY, file, line, "out of memory");
  } catch (const std::exception& error) {
    return fail(CF_INTERNAL, file, line, "%s", error.what());
  }
}

}  // namespace chordfast

#define CF_CHECK(condition, ...)                                                             \
  do {                                                                                       \
    if (!(condition)) return ::chordfast::fail(CF_INVALID, __FILE__, __LINE__, __VA_ARGS__); \
  } while (0)
#define CF_GUARD(...) ::chordfast::guarded(__FILE__, __LINE__, __VA_ARGS__)
