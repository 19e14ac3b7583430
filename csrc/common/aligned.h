// Scratch of floats on a cache line's boundary, which every vector's alignment divides.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>

namespace chordfast {

struct AlignedFree {
  void operator()(float* p) const { std::free(p); }
};
using AlignedFloats = std::unique_ptr<float, AlignedFree>;

// Throws std::bad_alloc.
inline AlignedFloats aligned_floats(int64_t count) {
  AlignedFloats p(static_cast<float*>(std::aligned_alloc(64, (count * 4 + 63) / 64 * 64)));
  if (!p) throw std::bad_alloc();
  return p;
}

}  // namespace chordfast
