// Which SIMD level to use, decided once at run time; CHORDFAST_SIMD=plain|avx2|avx512 lowers it.
#pragma once

namespace chordfast {

enum class Simd { plain = 0, avx2 = 1, avx512 = 2 };

Simd simd_level();            // what the kernels use
const char* simd_name(Simd);  // "plain", "avx2", "avx512"

}  // namespace chordfast
